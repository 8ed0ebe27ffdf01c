"""Evaluators, by what they measure."""
