"""A whole training: the run's folder, the loop, monitoring, checkpoints, several processes."""
