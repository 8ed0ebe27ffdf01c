"""A whole training: the run's folder, the loop, what is watched on the way, checkpoints, several processes."""
