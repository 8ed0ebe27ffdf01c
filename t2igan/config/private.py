"""What is said where private pictures (`config.privacy`) are looked at beyond what epsilon covers."""

from __future__ import annotations

from typing import Any


def looks_at_private(config: Any, what: str) -> str:
    """Returns a line that says so of `what`, a plural; "" where a configuration asks for no privacy."""
    if not config.privacy.epsilon:
        return ""
    epsilon = f"epsilon {config.privacy.epsilon:g}"
    return f"privacy: {what} come from looking at private pictures, which {epsilon} does not cover; keep them"
