"""What is fast and how fast. Prints tables, asserts nothing: python -m benchmarks.NAME."""
