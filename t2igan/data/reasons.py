"""Why pictures were left out, in few words: reasons that differ only in the names of files are one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from t2igan.data.dataset import Skipped

SHOWN = 3
QUOTED_NAME = re.compile(r"(?<=file name )'[^']*'|'[^']*'(?= is an address)|(?<=the first is )'[^']*'")


def kinds(skipped: Sequence[Skipped]) -> Counter[str]:
    """Returns reason -> how many were left out for it, with NAME for the names of files in it."""
    return Counter(_kind(one) for one in skipped)


def reasons(skipped: Sequence[Skipped], shown: int = SHOWN) -> str:
    """Returns the commonest reasons with their numbers: "no caption: NAME.txt has none (3); broken (1)"."""
    counts = kinds(skipped).most_common()
    more = f"; and {len(counts) - shown} reasons more" if len(counts) > shown else ""
    return "; ".join(f"{reason} ({count:,})" for reason, count in counts[:shown]) + more


def _kind(skipped: Skipped) -> str:
    """Returns a reason with NAME in place of the name of the file and of what it quotes."""
    file = skipped.file
    reason = QUOTED_NAME.sub("NAME", skipped.reason)
    base = file.rpartition("/")[2]
    stem = base.rpartition(".")[0] or base
    # "text/1.txt has none" of images/1.png: any path whose last part begins with the name.
    return re.sub(rf"(?:[^\s:;,]*/)?{re.escape(stem)}(?=\.\w+ )", "NAME", reason) if stem else reason
