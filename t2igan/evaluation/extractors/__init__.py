"""The extractors: who says what is in a picture, which caption fits it, and how pictures become vectors.

One interface, `Extractor`, and several of them:

- `attributes`: a classifier of the attributes, where the data has attributes;
- `probe`: a picture tower and a text tower that match pictures and captions;
- `pixels`: the pixels themselves, at 16 px or less;
- `inception`: Inception-v3 as FID uses it, `clip`: a CLIP, and `efficientnet`: EfficientNet-lite0, where weights are
  given.

Classifier and probe are learned from the run's own training split, with a seed and settings of their own: they share
nothing with the GAN that they measure but the tokenizer, and two runs on the same data are measured alike. They look at
pictures of at most 32 px, the mean over areas of larger ones: finer detail is not seen. They err, above all on
pictures unlike what they learned from, so each figure stands beside the same figure on real pictures. Figures of
different extractors cannot be compared.
"""

from __future__ import annotations

from t2igan.evaluation.extractors.classifier import Classified, Classifier, learnable_attributes
from t2igan.evaluation.extractors.collection import EXTRACTORS, Extracted, FeatureExtractors, Opening, joined
from t2igan.evaluation.extractors.extractor import Extractor, Matcher, extractor_px, shrink
from t2igan.evaluation.extractors.pixels import Pixels
from t2igan.evaluation.extractors.probe import Probe
from t2igan.evaluation.extractors.settings import Settings

__all__ = [
    "EXTRACTORS",
    "Classified",
    "Classifier",
    "Extracted",
    "Extractor",
    "FeatureExtractors",
    "Matcher",
    "Opening",
    "Pixels",
    "Probe",
    "Settings",
    "extractor_px",
    "joined",
    "learnable_attributes",
    "shrink",
]
