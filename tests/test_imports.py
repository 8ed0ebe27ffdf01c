"""Imports run downward only: read from the code, without running it."""

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "t2igan"

# What each room may import of the package besides itself, `errors` and the version; docs/architecture.md draws it.
ALLOWED = {
    "run": {"cli"},
    "__main__": {"cli"},
    "__init__": {"cli", "config", "data", "inference", "evaluation", "training"},
    "cli": {
        "config",
        "config.checks",
        "data",
        "method.phases",
        "inference",
        "inference.serving",
        "evaluation",
        "evaluation.report",
        "training",
        "training.distributed",
    },
    "training": {
        *("config", "config.checks", "data", "nets", "step", "inference", "training.distributed"),
        *("method", "method.game", "method.losses", "method.techniques", "method.phases"),
        *("evaluation", "evaluation.evaluators", "evaluation.extractors", "evaluation.report"),
    },
    "training.distributed": {"config", "data", "inference"},
    "evaluation.report": {"config", "data", "nets", "inference", "evaluation"},
    "evaluation": {
        *("config", "data", "nets", "inference", "method.techniques", "method.phases"),
        *("evaluation.metrics", "evaluation.extractors", "evaluation.evaluators"),
    },
    "evaluation.evaluators": {"data", "evaluation.metrics", "evaluation.extractors"},
    "config.checks": {
        *("config", "data", "nets", "method.losses", "method.techniques", "method.phases", "method.privacy"),
        "evaluation.extractors",
    },
    "evaluation.extractors": {"config", "data", "nets", "method.losses", "method.optim", "method.phases", "inference"},
    "evaluation.metrics": set(),
    "inference.serving": {"data", "inference"},
    "inference": {"config", "data", "nets", "method.techniques"},
    "method.phases": {
        *("config", "nets", "step", "inference", "method.game", "method.losses"),
        *("method.optim", "method.techniques", "method.privacy"),
    },
    "step": {"nets", "method.game", "method.losses", "method.optim", "method.techniques"},
    "method.game": {"nets", "method.losses", "method.optim", "method.techniques"},
    "method.losses": {"config", "nets"},
    "method.techniques": {"config", "nets"},
    "method.privacy": {"nets"},
    "method.optim": {"config"},
    "method": {"config", "data"},
    "nets": {"config", "data"},
    "data": {"config"},
    "config": set(),
    "errors": set(),
}
FOR_ALL = {"errors"}

# Which outside libraries stay in one place.
ONLY_IN = {
    "orbax": {"inference"},
    "flax.linen": {"nets"},
    "tensorflow_datasets": {"data"},
    "tokenizers": {"data"},
    "tensorboardX": {"training"},
    "wandb": {"training"},
    "dp_accounting": {"method.privacy"},
    "matplotlib": {"evaluation.report"},
    "jinja2": {"evaluation.report"},
    "av": {"inference"},
    "onnx": {"inference"},
    "fastapi": {"inference.serving"},
    "starlette": {"inference.serving"},
    "uvicorn": {"inference.serving"},
    "prometheus_client": {"inference.serving"},
    "c2pa": {"inference"},
    "cryptography": {"inference"},
}
WITHOUT_JAX = {"data", "evaluation.metrics", "config", "errors", "__init__"}

FILES = sorted(PACKAGE.rglob("*.py")) + [ROOT / "run.py"]


def room_of(dotted):
    """The room of a module below t2igan: "nets" for nets.layers, "method.phases" for method.phases.text."""
    two = ".".join(dotted.split(".")[:2])
    return two if two in ALLOWED else dotted.split(".")[0]


@functools.cache
def dotted_of(path):
    """nets.layers for t2igan/nets/layers.py; a package by its own name."""
    if path == ROOT / "run.py":
        return "run"
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def module_of(path):
    """The room of a file."""
    return room_of(dotted_of(path))


@functools.cache
def statements(path):
    """The import statements of a file, wherever in it; each file is parsed once."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]


def imported(path):
    """Dotted names of all that a file imports, wherever in it; of `from a import b` both a and a.b."""
    for node in statements(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules_imported(path):
    """Dotted names, below t2igan, of the modules of the package that a file imports."""
    known = {dotted_of(file) for file in FILES}
    for node in statements(path):
        if isinstance(node, ast.ImportFrom) and (node.module + ".").startswith("t2igan."):
            package = node.module[7:]
            for alias in node.names:  # `from package import module` needs the module, not what else is in the package
                module = f"{package}.{alias.name}".lstrip(".")
                if module in known or package:
                    yield module if module in known else package


def siblings(path):
    """Rooms of the package that a file imports."""
    return {room_of(name) for name in modules_imported(path)}


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


def test_the_table_in_the_docs_is_this_one():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    block = next(b for b in text.split("```") if "\nnets " in b and " -> " in b)
    drawn = {}
    for line in re.sub(r"\n +", " ", block).strip().splitlines():
        room, below = line.split(" -> ")
        drawn[room.strip()] = set(below.split()) - {"-"}
    assert drawn == ALLOWED


def test_no_files_import_each_other_in_a_circle():
    left = {dotted_of(path): set(modules_imported(path)) - {dotted_of(path)} for path in FILES}
    while left:
        leaves = {module for module, below in left.items() if not below & left.keys()}
        assert leaves, f"a cycle among {sorted(left)}"
        left = {module: below for module, below in left.items() if module not in leaves}


def test_the_house_stays_small():
    marks = ("__pycache__", "py.typed")  # no code
    entries = [path for path in PACKAGE.iterdir() if path.name not in marks]
    assert len(entries) <= 12, sorted(path.name for path in entries)
    assert not [path for path in FILES if len(path.read_text(encoding="utf-8").splitlines()) > 350]


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
    assert {*t2igan._HOMES, "__version__"} == set(t2igan.__all__)
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        t2igan.lod  # noqa: B018
