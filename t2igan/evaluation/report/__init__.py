"""What a run became, on one page (`write_report`) and in a model card (`t2igan.evaluation.report.model_card`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_report(
    workdir: Path,
    out: Path | None = None,
    split: str | None = None,
    *,
    base: Mapping[str, Any] | None = None,
    num_images: int | None = None,
    seed: int = 0,
) -> Path:
    """Writes the report of a run: one HTML file that needs nothing else; returns its path.

    Where the model was not evaluated on the split yet, that is done first. The model card goes into `model_card.md` and
    into the snapshot. What a run lacks (a snapshot, attributes, its data) is left out, and the page says so.

    Args:
      workdir: the run's folder.
      out: the file; None = report.html in the run's folder.
      split: which split to evaluate and show; None = the run's test split.
      base: the configuration that changed keys are shown against; None = none.
      num_images: how many pictures to draw if the model has to be evaluated; None = as many as the split has.
      seed: of that evaluation.

    Raises:
      UserError: there is no run, Matplotlib or Jinja are not installed, or the file cannot be written.
    """
    from t2igan.evaluation.report.page import write

    return write(workdir, out, split, base=base, num_images=num_images, seed=seed)
