"""t2igan: a text-to-image GAN for captions and pictures of one's own, in JAX and Flax.

config = t2igan.get_config("base")  # every key: configs/base.py
t2igan.train(config, "runs/base")
model = t2igan.load("runs/base")
images = model.sample(["a pixel person with a red cap, light skin"], seed=0)  # uint8 [N, H, W, C]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from t2igan.config import get_config
    from t2igan.data import Dataset, open_dataset
    from t2igan.errors import UserError
    from t2igan.evaluation.runs import evaluate_run as evaluate
    from t2igan.inference.sample import Model, load
    from t2igan.training.auto import auto_config
    from t2igan.training.shrink.export import export
    from t2igan.training.train import train

__all__ = [
    "Dataset",
    "Model",
    "UserError",
    "__version__",
    "auto_config",
    "evaluate",
    "export",
    "get_config",
    "load",
    "open_dataset",
    "train",
]

_HOMES = {
    "Dataset": "t2igan.data:Dataset",
    "Model": "t2igan.inference.sample:Model",
    "UserError": "t2igan.errors:UserError",
    "auto_config": "t2igan.training.auto:auto_config",
    "evaluate": "t2igan.evaluation.runs:evaluate_run",
    "export": "t2igan.training.shrink.export:export",
    "get_config": "t2igan.config:get_config",
    "load": "t2igan.inference.sample:load",
    "open_dataset": "t2igan.data:open_dataset",
    "train": "t2igan.training.train:train",
}


def __getattr__(name: str) -> Any:
    # Imported on first use: `import t2igan` itself starts neither JAX nor anything else that takes seconds.
    if name not in _HOMES:
        raise AttributeError(f"module 't2igan' has no attribute {name!r}")
    import importlib

    module, _, attribute = _HOMES[name].partition(":")
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
