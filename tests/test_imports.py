"""Imports run downward only: read from the code, without running it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "t2igan"

# What each module may import of the package besides itself, `errors` and `version`; docs/architecture.md draws it.
ALLOWED = {
    "run": {
        *("train", "loop", "plan", "sample", "evaluate", "report"),
        *("data", "config", "parallel", "processes", "pictures"),
    },
    "__init__": {"data", "sample"},
    "train": {
        *("config", "data", "text", "nets", "inherit", "loop", "watch", "parallel"),
        *("checkpoint", "sample", "judges", "evaluate", "report", "environment", "logs", "averages"),
        *("processes", "together"),
    },
    "loop": {"phases", "watch", "guard", "parallel", "processes", "checkpoint", "data", "logs", "config"},
    "report": {
        *("config", "data", "text", "nets", "checkpoint", "sample"),
        *("evaluate", "environment", "logs", "pictures"),
    },
    "plan": {"config", "data", "text", "nets", "inherit", "phases", "watch", "parallel", "judges", "logs"},
    "phases": {"config", "data", "step", "method", "joint", "pretrain", "text_matching", "watch", "parallel"},
    "watch": {
        *("data", "text", "nets", "inherit", "inversion", "masks", "pretrain", "checkpoint"),
        *("sample", "judges", "evaluate", "logs", "pictures", "guard", "growing", "processes"),
    },
    "inherit": {"config", "nets", "text", "checkpoint"},
    "evaluate": {"judges", "sample", "data", "metrics", "nets", "text", "config", "checkpoint", "regularize"},
    "judges": {"pretrain", "nets", "losses", "schedules", "data", "text", "checkpoint"},
    "sample": {"nets", "text", "checkpoint", "config", "regularize"},
    "joint": {"step", "method", "losses", "optimizers"},
    "text_matching": {"pretrain", "step", "nets", "losses", "regularize"},
    "pretrain": {
        *("step", "method", "nets", "losses", "schedules"),
        *("inversion", "masks", "optimizers", "pretext", "regularize", "growing"),
    },
    "step": {"nets", "losses", "method", "inversion", "growing", "augment", "optimizers", "regularize"},
    "guard": {"nets", "regularize", "data", "text", "checkpoint"},
    "averages": {"evaluate", "inherit", "logs", "sample", "watch", "parallel", "processes"},
    "together": {"processes", "config", "checkpoint", "data"},
    "processes": {"channel"},
    "channel": set(),
    "growing": set(),
    "method": {"nets", "losses", "schedules", "inversion", "growing", "optimizers", "regularize"},
    "regularize": {"nets"},
    "optimizers": set(),
    "inversion": {"nets", "losses"},
    "logs": {"checkpoint", "pictures"},
    "data": {"config", "text"},
    "nets": set(),
    "losses": set(),
    "augment": set(),
    "masks": set(),
    "pretext": set(),
    "schedules": set(),
    "text": set(),
    "metrics": set(),
    "parallel": set(),
    "checkpoint": set(),
    "pictures": set(),
    "config": set(),
    "environment": set(),
    "errors": set(),
    "version": set(),
}
FOR_ALL = {"errors", "version"}

# Which outside libraries stay in one place.
ONLY_IN = {
    "orbax": {"checkpoint"},
    "flax.linen": {"nets"},
    "tensorflow_datasets": {"data"},
    "tokenizers": {"text"},
    "tensorboardX": {"logs"},
    "wandb": {"logs"},
    "matplotlib": {"report"},
    "jinja2": {"report"},
}
WITHOUT_JAX = {"text", "data", "metrics", "config", "errors", "version", "pictures", "__init__"}

FILES = sorted(PACKAGE.rglob("*.py")) + [ROOT / "run.py"]


def module_of(path):
    """`nets` for t2igan/nets/layers.py, `run` for run.py."""
    return "run" if path.name == "run.py" else path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path):
    """Dotted names of all that a file imports, wherever in it; of `from a import b` both a and a.b."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def siblings(path):
    """Modules of the package that a file imports."""
    parts = [name.split(".") for name in imported(path)]
    return {p[1] for p in parts if p[0] == "t2igan" and len(p) > 1 and p[1] in ALLOWED}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_downward(path):
    module = module_of(path)
    assert module in ALLOWED, f"give {module} its place in ALLOWED and in docs/architecture.md"
    upward = siblings(path) - ALLOWED[module] - FOR_ALL - {module}
    assert not upward, f"{path.relative_to(ROOT)} imports {sorted(upward)}"


def test_what_is_allowed_has_no_cycle():
    left = {module: set(below) for module, below in ALLOWED.items()}
    while left:
        leaves = {module for module, below in left.items() if not below & left.keys()}
        assert leaves, f"a cycle among {sorted(left)}"
        left = {module: below for module, below in left.items() if module not in leaves}


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_stays_in_its_place(library):
    users = {module_of(path) for path in FILES if any((n + ".").startswith(library + ".") for n in imported(path))}
    assert users <= ONLY_IN[library]


def test_no_file_imports_tensorflow_or_torch():
    for path in FILES:
        assert not {"tensorflow", "torch"} & {name.split(".")[0] for name in imported(path)}, path


def test_what_needs_no_jax_imports_none():
    for path in FILES:
        if module_of(path) in WITHOUT_JAX:
            assert not {"jax", "flax", "optax"} & {name.split(".")[0] for name in imported(path)}, path


def test_importing_the_package_starts_nothing():
    code = "import sys, t2igan; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy = {"jax", "flax", "numpy", "optax", "orbax", "tensorflow", "tensorflow_datasets", "PIL", "pyarrow"}
    assert not heavy & set(done.stdout.split())


def test_every_public_name_is_there():
    import t2igan

    assert all(getattr(t2igan, name) is not None for name in t2igan.__all__)
    assert set(t2igan._HOMES) <= set(t2igan.__all__)
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        t2igan.lod  # noqa: B018
