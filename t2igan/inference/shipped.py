"""Models that come with the package: trained ones to draw with at once, and to begin a training of one's own from.

They are snapshots in `t2igan/inference/models`, called "models/NAME" wherever a run or a snapshot is asked for. A
folder of that name in the current folder comes first. docs/deploy.md says how they are made.
"""

from __future__ import annotations

from pathlib import Path

from t2igan.errors import UserError, nearest

FOLDER = Path(__file__).parent / "models"
PREFIX = "models"


def shipped() -> dict[str, Path]:
    """Returns the snapshots of the package by their names, in order."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.safetensors"))}


def found(path: Path) -> Path:
    """Returns a path that is there as it is, and for "models/NAME" the snapshot of the package.

    Raises:
      UserError: the package has no model of that name.
    """
    if path.exists() or len(path.parts) != 2 or path.parts[0] != PREFIX:
        return path
    models, name = shipped(), path.parts[1].removesuffix(".safetensors")
    if name not in models:
        there = f"There are {', '.join(f'{PREFIX}/{known}' for known in models)}" if models else "It has none"
        raise UserError(f"the package has no model {name!r}{nearest(name, models)} {there}; `t2igan models` lists them")
    return models[name]
