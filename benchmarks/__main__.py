"""Lists the benchmarks: python -m benchmarks."""

from __future__ import annotations

import ast
from pathlib import Path


def main() -> None:
    """Prints each module that can be run, with the first line of its docstring; imports none."""
    folder = Path(__file__).parent
    files = {path.stem: path for path in folder.glob("*.py")} | {
        path.parent.name: path for path in folder.glob("*/__main__.py")
    }
    for name, path in sorted(files.items()):
        text = path.read_text(encoding="utf-8")
        if "def main(" in text and name != "__main__":
            print(f"python -m benchmarks.{name:<10} {(ast.get_docstring(ast.parse(text)) or '').splitlines()[0]}")


if __name__ == "__main__":
    main()
