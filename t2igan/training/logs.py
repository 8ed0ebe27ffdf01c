"""What a run says while it goes on: progress bar, metrics.jsonl, TensorBoard, picture sheets."""

from __future__ import annotations

import contextlib
import json
import math
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from t2igan.inference.console import progress_bar, say, show_picture, speak
from t2igan.inference.files import explain_write_errors, read_json_lines, write_text
from t2igan.inference.pictures import save_png

__all__ = ["Logs", "Progress", "Rate", "say", "speak"]
WANDB_ID_NAME = "wandb_id.txt"


class Logs:
    """The logs of one run, in its folder. Only the first process of several writes.

    Args:
      workdir: the run's folder.
      active: whether this process writes.
      wandb_project: also log to Weights & Biases under this project; "" = no.
      config: shown in Weights & Biases.
    """

    def __init__(self, workdir: Path, active: bool = True, wandb_project: str = "", config: Mapping | None = None):
        self.workdir = workdir
        self.active = active
        self._wandb = None
        self._tensorboard = None
        if not active:
            return
        if wandb_project:
            self._wandb = _start_wandb(wandb_project, workdir, config)

    def start_phase(self, phase: str, step: int) -> None:
        """Goes on logging `phase` after `step`: forgets rows that an interrupted run wrote beyond it."""
        if not self.active:
            return
        rows = [row for row in self.read() if row["phase"] != phase or row["step"] <= step]
        write_text(self._path, "".join(json.dumps(row) + "\n" for row in rows))
        with explain_write_errors(self.workdir):
            if self._tensorboard is not None:
                self._tensorboard.close()
            from tensorboardX import SummaryWriter

            folder = self.workdir / "tensorboard" / phase
            self._tensorboard = SummaryWriter(str(folder), purge_step=step + 1 if step else None)

    def scalars(self, phase: str, step: int, images: int, values: Mapping[str, Any]) -> None:
        """Writes one row; numbers also go to TensorBoard."""
        if not self.active:
            return
        row = {"phase": phase, "step": step, "images": images} | {k: _plain(v) for k, v in values.items()}
        numbers = {k: v for k, v in row.items() if isinstance(v, int | float) and k not in ("step", "images")}
        with explain_write_errors(self.workdir):
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            for name, value in numbers.items():
                self._tensorboard.add_scalar(name, value, step)
            self._tensorboard.flush()
        if self._wandb is not None:
            self._wandb.log({f"{phase}/{name}": value for name, value in numbers.items()} | {f"{phase}/step": step})

    def sheet(self, name: str, step: int, picture: np.ndarray, facts: Mapping[str, Any]) -> Path:
        """Writes a picture sheet, uint8 [H, W, 3], to samples/; returns its path."""
        path = self.workdir / "samples" / f"{name}.png"
        if self.active:
            with explain_write_errors(self.workdir):
                save_png(path, picture, facts)
                show_picture(path)
                self._tensorboard.add_image("samples", picture, step, dataformats="HWC")
            if self._wandb is not None:
                self._wandb.log({"samples": self._wandb.Image(picture)})
        return path

    def read(self) -> list[dict[str, Any]]:
        """Returns all rows written so far; a last line cut short by a kill is left out."""
        return read_json_lines(self._path)

    def close(self) -> None:
        """Ends TensorBoard and Weights & Biases."""
        if self._tensorboard is not None:
            with contextlib.suppress(OSError):  # a full disk; metrics.jsonl has what there was
                self._tensorboard.close()
        if self._wandb is not None:
            self._wandb.finish()

    @property
    def _path(self) -> Path:
        return self.workdir / "metrics.jsonl"


class Progress:
    """A bar with rate in pictures and remaining time; on something that is no terminal, a line now and then."""

    def __init__(self, label: str, total_images: int, done_images: int, active: bool = True):
        self._bar = progress_bar(
            desc=label,
            total=total_images,
            initial=done_images,
            unit="img",
            unit_scale=True,
            disable=not active,
            smoothing=0.05,
        )

    def reach(self, images: int) -> None:
        """Says how many pictures are done in all."""
        self._bar.update(images - self._bar.n)

    def show(self, **values: float) -> None:
        """Shows a few values behind the bar."""
        self._bar.set_postfix({name: f"{value:.3g}" for name, value in values.items()}, refresh=False)

    def close(self) -> None:
        """Leaves the bar as it is."""
        self._bar.close()


class Rate:
    """Pictures a second since the last time it was asked."""

    def __init__(self):
        self._time_s = time.perf_counter()
        self._images = 0

    def add(self, images: int) -> None:
        """Counts pictures."""
        self._images += images

    def take(self) -> float:
        """Returns pictures a second since the last call, and starts anew."""
        now_s = time.perf_counter()
        rate = self._images / max(now_s - self._time_s, 1e-9)
        self._time_s, self._images = now_s, 0
        return rate


def _plain(value: Any) -> Any:
    """JSON has no NaN or infinity and knows no NumPy numbers."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _start_wandb(project: str, workdir: Path, config: Mapping | None):
    from t2igan.errors import UserError

    try:
        import wandb
    except ImportError as error:
        raise UserError("config.log.wandb=True needs Weights & Biases: pip install 't2igan[wandb]'") from error
    # Without the same id a run that goes on would be a new one.
    path = workdir / WANDB_ID_NAME
    if not path.is_file():
        write_text(path, uuid.uuid4().hex)
    wandb.init(
        project=project,
        dir=str(workdir),
        name=workdir.name,
        config=dict(config or {}),
        id=path.read_text(encoding="utf-8").strip(),
        resume="allow",
    )
    return wandb
