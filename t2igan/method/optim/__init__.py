"""Gradients to updates, and settings that move with the step."""
