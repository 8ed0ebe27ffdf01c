"""All verbs, each registered once: here, or in a plugin."""

from __future__ import annotations

from t2igan.cli.data import VERB as DATA
from t2igan.cli.evaluate import VERB as EVALUATE
from t2igan.cli.explain import VERB as EXPLAIN
from t2igan.cli.keys import VERB as KEYS
from t2igan.cli.report import VERB as REPORT
from t2igan.cli.sample import VERB as SAMPLE
from t2igan.cli.train import VERB as TRAIN
from t2igan.cli.verb import Verb
from t2igan.cli.verify import VERB as VERIFY
from t2igan.config import Registry

VERBS: Registry[Verb] = Registry("verb")
for _verb in (TRAIN, DATA, SAMPLE, EVALUATE, REPORT, EXPLAIN, VERIFY, KEYS):
    VERBS.register(_verb.name, _verb)
DEFAULT = TRAIN
