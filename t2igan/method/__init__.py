"""The method: losses, techniques, optimizers, and the phases of a training, all pure functions."""
