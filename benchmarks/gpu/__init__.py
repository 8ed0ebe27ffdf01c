"""One visit to a GPU: is it right, how fast is it, and what does it draw (`python -m benchmarks.gpu`)."""
