"""All verbs, each registered once: here, or in a plugin."""

from __future__ import annotations

from t2igan.cli.complete import VERB as COMPLETE
from t2igan.cli.data import VERB as DATA
from t2igan.cli.describe import VERB as DESCRIBE
from t2igan.cli.edit import VERB as EDIT
from t2igan.cli.evaluate import VERB as EVALUATE
from t2igan.cli.explain import VERB as EXPLAIN
from t2igan.cli.explore import VERB as EXPLORE
from t2igan.cli.export import VERB as EXPORT
from t2igan.cli.invert import VERB as INVERT
from t2igan.cli.keys import VERB as KEYS
from t2igan.cli.mix import VERB as MIX
from t2igan.cli.models import VERB as MODELS
from t2igan.cli.report import VERB as REPORT
from t2igan.cli.sample import VERB as SAMPLE
from t2igan.cli.serve import VERB as SERVE
from t2igan.cli.train import VERB as TRAIN
from t2igan.cli.vary import VERB as VARY
from t2igan.cli.verb import Verb
from t2igan.cli.verify import VERB as VERIFY
from t2igan.config import Registry

VERBS: Registry[Verb] = Registry("verb")
for _verb in (
    *(TRAIN, DATA, SAMPLE, SERVE, EVALUATE, REPORT, EXPLAIN, EXPORT, MODELS, VERIFY, KEYS),
    *(DESCRIBE, EDIT, COMPLETE, VARY, MIX, INVERT, EXPLORE),
):
    VERBS.register(_verb.name, _verb)
DEFAULT = TRAIN
