"""For `benchmarks.serve`: a server that draws the first batch of each size, and hands those pictures out ever after.

t2igan serve --workdir=runs/base --plugin=benchmarks/undrawn.py

What it takes of the CPU is what a request takes besides drawing; pictures are wrong.
"""

from t2igan.inference.serving.models import Catalogue

_draw, _kept = Catalogue.draw, {}


def _drawn_once(catalogue, group, prompts, seeds):
    of = (group.model, len(prompts))
    if of not in _kept:
        _kept[of] = _draw(catalogue, group, prompts, seeds)
    return _kept[of]


Catalogue.draw = _drawn_once
