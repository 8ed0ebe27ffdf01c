"""Measures a generator on a split of the data: draws its captions, reads them by feature extractors, returns figures.

Every figure names the extractor whose features it uses (`t2igan.evaluation.extractors`), for figures of different
extractors cannot be compared, and stands beside the same figure of real pictures (the ceiling) and, where captions play
a part, of shuffled captions (the floor). What each figure means and the format of `evaluation_SPLIT.json`:
docs/metrics.md.
"""
