"""What a model says of the privacy of its training pictures: in its card, and in the terminal when it is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def privacy_lines(info: Mapping[str, Any]) -> list[str]:
    """Returns the lines on privacy, from what a snapshot knows (`info` of `Snapshot`); [] where there is none."""
    found = info.get("privacy")
    if not isinstance(found, Mapping):
        return []

    def number(name: str, form: str) -> str:
        value = found.get(name)  # of a file that may be a stranger's
        return format(value, form) if isinstance(value, int | float) else "unknown"

    lines = [f"privacy:  epsilon {number('epsilon', '.2f')} at delta {number('delta', 'g')} for each training picture"]
    if "means_noise_multiplier" in found:
        lines.append(
            f"          by sums of pictures, one a feature of captions, released once: noise multiplier "
            f"{number('means_noise_multiplier', 'g')}, accountant {found.get('accountant')}"
        )
    if found.get("updates") != 0:
        lines.append(
            f"          by {number('updates', ',.0f')} updates of the discriminator: sampling rate "
            f"{number('sampling_rate', '.4f')}, noise multiplier {number('noise_multiplier', 'g')}, clipping norm "
            f"{number('clip_norm', 'g')}, accountant {found.get('accountant')}"
        )
    assumptions = found.get("assumptions")
    return lines + [f"          assumed: {one}" for one in (assumptions if isinstance(assumptions, list) else ())]
