"""Differential privacy of pictures: clipped gradients, Poisson batches, noise of the system's entropy, a budget."""
