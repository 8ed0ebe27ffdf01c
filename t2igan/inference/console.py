"""What is said while something goes on: lines and bars, on a terminal, in a file or in a notebook."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

_speaks = True


def speak(aloud: bool) -> None:
    """Whether `say` says anything: of several processes only the first does."""
    global _speaks
    _speaks = aloud


def say(text: str) -> None:
    """Prints a line without breaking a progress bar; characters that the console lacks are escaped."""
    from tqdm import tqdm

    if not _speaks:
        return
    stream = sys.stdout
    if stream is None:  # a program without a console
        return
    tqdm.write(printable(text, stream), file=stream)
    stream.flush()


def printable(text: str, stream: Any) -> str:
    """Returns the text with what the stream cannot encode escaped, as "\\u7d75"."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def escape_what_consoles_lack() -> None:
    """Has all that this process prints, libraries' lines too, escape what the console cannot encode."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def in_notebook() -> bool:
    """Whether Python runs in a Jupyter notebook or in something like it, such as Colab."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    shell = get_ipython()
    return shell is not None and hasattr(shell, "kernel")


def show_picture(path: Path) -> None:
    """Shows a PNG below the cell of a notebook that runs; elsewhere nothing happens."""
    if in_notebook():
        from IPython.display import Image, display

        display(Image(filename=str(path)))


def progress_bar(**settings: Any) -> Any:
    """Returns a tqdm bar: a widget in a notebook, where there are widgets; on no terminal, a line now and then."""
    if in_notebook():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there are no widgets: bars are text then
            from tqdm.auto import tqdm

        return tqdm(**{"mininterval": 0.5} | settings)
    from tqdm import tqdm

    terminal = sys.stderr is not None and sys.stderr.isatty()
    how = {"dynamic_ncols": True, "mininterval": 0.2} if terminal else {"ncols": 110, "mininterval": 30.0}
    return tqdm(**how | settings)
