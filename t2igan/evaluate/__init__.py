"""Measures a generator on a split of the data: draws its captions, lets the judges judge, returns figures.

Every figure names the extractor whose features it uses (`t2igan.judges`), for figures of different extractors cannot be
compared, and stands beside the same figure of real pictures (the ceiling) and, where captions play a part, of shuffled
captions (the floor). What each figure means and the format of `evaluation_SPLIT.json`: docs/metrics.md.
"""

from __future__ import annotations

from t2igan.evaluate.evaluate import CHEAP, GROUPS, Result, evaluate, flat_figures, without_details
from t2igan.evaluate.look import Draw
from t2igan.evaluate.runs import Evaluated, discriminate_with, draw_with, evaluate_run, evaluate_runs
from t2igan.evaluate.table import summary_line, table
from t2igan.evaluate.verdict import verdict

__all__ = [
    "CHEAP",
    "GROUPS",
    "Draw",
    "Evaluated",
    "Result",
    "discriminate_with",
    "draw_with",
    "evaluate",
    "evaluate_run",
    "evaluate_runs",
    "flat_figures",
    "summary_line",
    "table",
    "verdict",
    "without_details",
]
