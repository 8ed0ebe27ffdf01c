"""What all tests share: shape checks at run time, one compile cache, a tiny configuration of the real kind."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import os
import shutil
import sys
import tempfile
from pathlib import Path

# Before JAX starts: eight simulated devices, so that "one device equals many" can be tested, and one compile cache.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")
os.environ.setdefault(
    "NPROC", "64"
)  # threads enough for eight devices to wait for each other (distributed/parallel.py)
CACHE = Path(os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(tempfile.gettempdir()) / "t2igan-test-xla")))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
# Most of the time went into LLVM's optimisations, for programs that run a few times. XLA's own passes stay as they are.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# Half of what was left: fusions by way of MLIR, and modules cut into parts. What users have, `.ci/run` runs as they do.
# A jaxlib that knows these flags no more ends with a line that names them; take them out then.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1")
# Decoded pictures: nobody's own cache is read or written.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="t2igan-test-")
atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)

from jaxtyping import install_import_hook  # noqa: E402

install_import_hook("t2igan", "beartype.beartype")

import pytest  # noqa: E402

LONG_FILES = (
    *("train", "space", "plan", "techniques", "phases", "processes", "pretrained_train", "report", "guard", "stopping"),
    *("studio_editing", "studio", "shrink", "step", "resume", "evaluate", "parallel", "python_api", "unlabelled"),
    *("notebook", "export_web_seeing", "efficientnet", "pretrained", "warm_start", "growing", "alpha", "best"),
    *("imports", "inversion", "auto", "export_kinds", "nets", "joint", "privacy", "cli", "serve_edits"),
)


def pytest_collection_modifyitems(items):
    """Long files first: several workers, each with a file at a time, end together when none of them begins late."""
    names = [f"test_{name}.py" for name in LONG_FILES]
    items.sort(key=lambda item: names.index(item.path.name) if item.path.name in names else len(names))


@pytest.fixture
def config():
    """The real default configuration with everything shrunk: trains in seconds."""
    from tiny import shrink

    from configs.base import get_config

    return shrink(get_config())


@pytest.fixture(scope="session", autouse=True)
def _large_data_is_looked_at_once():
    """Most trainings here begin with the same 8,000 pictures: reading them takes seconds with types checked."""
    from remembered import remembered

    with remembered():
        yield


@pytest.fixture(autouse=True)
def _as_started():
    """A command line that a test runs in this process leaves its name, and how Ctrl-C is kept, to no other test."""
    from t2igan import errors

    hook = sys.unraisablehook
    yield
    sys.unraisablehook = hook
    errors.started_as("")


@pytest.fixture
def console(capsys):
    """Runs a command line in this process: `console("sample", "--prompt=red")` has returncode, stdout and stderr."""
    from commands import command_line

    return functools.partial(command_line, capsys)


@pytest.fixture(scope="module", autouse=True)
def _compiled_programs_are_let_go():
    """A worker that goes through many files would hold every program that any of them compiled: gigabytes.

    And the most memory that any of them took: a training has the C library keep what was freed.
    """
    yield
    import gc

    import jax

    jax.clear_caches()
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # where it is not glibc
        ctypes.CDLL("libc.so.6").malloc_trim(0)


@pytest.fixture(scope="module")
def chromium():
    """One browser for all tests of a file that look at the studio."""
    from browser import CHROMIUM

    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def desktop(chromium, server):
    """The studio of a file's `server` on a large screen."""
    from studio_page import Watched

    watched = Watched(chromium, server, viewport={"width": 1440, "height": 900})
    yield watched
    watched.close()


@pytest.fixture
def phone(chromium, server):
    """The studio of a file's `server` on a small, dark one."""
    from studio_page import PHONE, Watched

    watched = Watched(chromium, server, **PHONE)
    yield watched
    watched.close()
