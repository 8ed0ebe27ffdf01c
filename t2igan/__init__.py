"""t2igan: a text-to-image GAN for captions and pictures of one's own, in JAX and Flax.

generator = t2igan.load("runs/base")
images = generator.sample(["a pixel person with a red cap, light skin"], seed=0)  # uint8 [N, H, W, C]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from t2igan.data import open_dataset
    from t2igan.errors import UserError
    from t2igan.inference.sample import Model, load

__all__ = ["Model", "UserError", "__version__", "load", "open_dataset"]

_HOMES = {
    "Model": "t2igan.inference.sample",
    "UserError": "t2igan.errors",
    "load": "t2igan.inference.sample",
    "open_dataset": "t2igan.data",
}


def __getattr__(name: str):
    # Imported on first use: `import t2igan` itself starts neither JAX nor anything else that takes seconds.
    if name not in _HOMES:
        raise AttributeError(f"module 't2igan' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
