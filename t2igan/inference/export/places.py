"""Files that lie beside the code: programs that draw with an export, and the parts of the page."""

from __future__ import annotations

from pathlib import Path

# An installed package has them inside; in a clone they lie at the top, where they are easily found and read.
_INSTALLED = Path(__file__).parent / "examples"
EXAMPLES = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[3] / "examples"


def example(name: str) -> Path:
    """Returns the path of a program in `examples/`."""
    return EXAMPLES / name
