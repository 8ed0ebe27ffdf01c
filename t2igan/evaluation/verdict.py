"""What the figures say in plain words: mode collapse, captions ignored, memorised, or healthy.

Every rule compares a figure with the same figure of real pictures or of shuffled captions, so that thresholds do not
depend on the data. They are rules of thumb, set between healthy runs and deliberately broken generators
(docs/metrics.md), and they see only what the figures see.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from t2igan.errors import counted

COLLAPSED_ACROSS = 0.5  # diversity across captions, over that of real pictures, below which it is mode collapse
COLLAPSED_WITHIN = 0.2  # diversity within a caption, over that of real pictures, below which noise is ignored
IGNORED, HALF_FOLLOWED = 0.3, 0.8  # of the way from shuffled captions to real pictures
MEASURABLE = 0.1  # how far real pictures must be above shuffled captions for that way to say anything
COPIED = 0.1  # share of copies of training pictures, above that of held-out real pictures
NEAR_AUC, NEAR_RATIO = 0.9, 0.5  # nearer than real pictures so often, and so much: near-copies
BAD_PRECISION, POOR_PRECISION = 0.3, 0.7  # precision over that of training pictures
NARROW = 0.5  # coverage, or recall, over that of training pictures
LOST = 0.2  # recall over that of training pictures, below which drawings are no pictures of the kind
# Share of real pictures that find their caption, as the first or among the first five, below which following can hardly
# be seen.
WEAK_RETRIEVAL = {"retrieval/caption_at_1/probe": 0.3, "retrieval/caption_at_5/probe": 0.5}
WEAK_PICTURES = 50  # of a split: with fewer, distributions can hardly be compared
OVERFITTED = 0.5  # Karras et al. 2020 aim for 0.6 of a related figure
NEVER_TOLD = 0.2  # share of captions with a word of no training caption, from which on that is worth a finding
FEW_PICTURES = 30  # of a split: fewer leave out figures, and make the others uncertain by a fifth
SWAPPED, LEAST_SWAPS = 3.0, 5  # times more often than by chance, and at least so many drawings

LEARNED = ("attributes", "probe")  # extractors that know what there is to see in such pictures
KERNELS = tuple(f"kernel_distance/{extractor}" for extractor in LEARNED)
LEVELS = ("bad", "note", "good")
Finding = dict[str, Any]


def verdict(
    figures: Mapping[str, Mapping[str, Any]],
    binding: list[Mapping[str, Any]] | None = None,
    num_real: int | None = None,
    complete: bool = False,
    never_told: float | None = None,
) -> list[Finding]:
    """Returns findings, most serious first, never none.

    `figures` and `binding` are those of an evaluation (docs/metrics.md), `num_real` is how many real pictures it
    compared with and `never_told` the share of captions with a word of no training caption, where these are known, and
    `complete` is whether all groups of metrics were evaluated. A finding has "finding" (its name), "level" ("bad",
    "note" or "good"), "text" (a sentence), "figures" (names of those it rests on). Without figures of captions,
    diversity and memorisation nothing is called healthy, nor by a weak ruler.
    """
    found = [*_collapse(figures), *_memory(figures), *_captions(figures), *_quality(figures)]
    found += [*_discriminator(figures), *_swaps(binding or []), *_weak_ruler(figures, num_real)]
    found += _never_told(never_told)
    if any(finding["finding"] == "mode_collapse" for finding in found):
        # One picture for all captions cannot follow them either: that is the same fault.
        found = [finding for finding in found if finding["finding"] != "caption_ignored"]
    found.sort(key=lambda finding: LEVELS.index(finding["level"]))  # stable
    if any(finding["level"] == "bad" for finding in found):
        return found
    last = _healthy(figures, found, num_real, complete)
    if last["finding"] == "too_few_pictures":  # which says as much
        found = [finding for finding in found if finding["finding"] != "weak_ruler"]
    return [*found, last]


def _collapse(figures: Mapping) -> list[Finding]:
    across, within = "diversity_across/pixels", "diversity_within/pixels"
    share = _over_real(figures, across)
    if share is not None and share < COLLAPSED_ACROSS:
        text = (
            f"Mode collapse: pictures of different captions differ {share:.0%} as much as real ones do "
            f"(below {COLLAPSED_ACROSS:.0%})."
        )
        return [_finding("mode_collapse", "bad", text, across)]
    share = _over_real(figures, within)
    if share is not None and share < COLLAPSED_WITHIN:
        text = (
            f"Noise changes little: pictures of one caption differ {share:.0%} as much as real ones do "
            f"(below {COLLAPSED_WITHIN:.0%})."
        )
        return [_finding("noise_ignored", "note", text, within)]
    return []


def _memory(figures: Mapping) -> list[Finding]:
    name = "memorisation/copies"
    if name in figures:
        copied, of_real = figures[name]["value"], figures[name]["real"] or 0.0
        if copied - of_real > COPIED:
            text = (
                f"Memorised: {copied:.0%} of the drawings are copies of training pictures; of real ones {of_real:.0%}."
            )
            return [_finding("memorised", "bad", text, name)]
    auc, ratio = "memorisation/auc/pixels", "memorisation/ratio/pixels"
    if auc in figures and ratio in figures:
        nearer, distance = figures[auc]["value"], figures[ratio]["value"]
        if nearer > NEAR_AUC and distance < NEAR_RATIO:
            text = (
                f"Memorised: drawings are nearer to training pictures than held-out real ones {nearer:.0%} of the "
                f"time (above {NEAR_AUC:.0%}), at {distance:.0%} of the distance (below {NEAR_RATIO:.0%})."
            )
            return [_finding("memorised", "bad", text, auc, ratio)]
    return []


def _captions(figures: Mapping) -> list[Finding]:
    followed = _followed(figures)
    if followed is None:
        return []
    name, share = followed
    share = max(share, 0.0)
    if share < IGNORED:
        text = (
            f"Captions are ignored: of the way from shuffled captions to real pictures the drawings go {share:.0%} "
            f"(below {IGNORED:.0%})."
        )
        return [_finding("caption_ignored", "bad", text, name)]
    if share < HALF_FOLLOWED:
        text = (
            f"Captions are followed in part: {share:.0%} of the way from shuffled captions to real pictures "
            f"(below {HALF_FOLLOWED:.0%})."
        )
        return [_finding("caption_half_followed", "note", text, name)]
    return []


def _unlike_real(figures: Mapping) -> list[Finding]:
    """Real pictures are not among the drawings, and another figure says so too: drawings are something else.

    Precision alone passes blurs and blocks where there are few real pictures: wide balls around those hold anything.
    """
    for extractor in LEARNED:
        name = f"recall/{extractor}"
        share = _over_real(figures, name)
        if share is None or share >= LOST:
            continue
        witnesses = [kernel for kernel in KERNELS if _beyond_chance(figures, kernel)]
        below = {f"precision/{extractor}": POOR_PRECISION for extractor in LEARNED} | {"recall/pixels": LOST}
        for other, limit in below.items():
            share = _over_real(figures, other)
            witnesses += [other] if share is not None and share < limit else []
        if witnesses:
            text = (
                f"Drawings are unlike real pictures: {figures[name]['value']:.0%} of the real pictures lie among them "
                f"(recall), and {figures[name]['real']:.0%} among training pictures; {_said(figures, witnesses[0])}."
            )
            return [_finding("unlike_real", "bad", text, name, *witnesses)]
    return []


def _said(figures: Mapping, name: str) -> str:
    """A figure beside that of training pictures, in words."""
    figure, (metric, extractor) = figures[name], name.split("/")
    number = "{:.3f}".format if metric == "kernel_distance" else "{:.0%}".format
    label = "the kernel distance" if metric == "kernel_distance" else metric
    return f"{label} by {extractor} is {number(figure['value'])}, that of training pictures {number(figure['real'])}"


def _beyond_chance(figures: Mapping, name: str) -> bool:
    """Whether drawings are farther from real pictures than training pictures are, by more than chance explains."""
    figure = figures.get(name)
    if figure is None or figure.get("low") is None or figure["real"] is None:
        return False
    return figure["low"] > max(figure["real"], 0.0)


def _quality(figures: Mapping) -> list[Finding]:
    if found := _unlike_real(figures):
        return found
    for extractor in LEARNED:
        name = f"precision/{extractor}"
        share = _over_real(figures, name)
        if share is not None and share < POOR_PRECISION:
            level = "bad" if share < BAD_PRECISION else "note"
            text = (
                f"Drawings look unlike real pictures: {figures[name]['value']:.0%} lie among them, and "
                f"{figures[name]['real']:.0%} of training pictures."
            )
            found = [_finding("poor_quality", level, text, name)]
    shifted = next((name for name in KERNELS if _beyond_chance(figures, name)), None)
    if shifted and not found:
        text = f"As a whole, drawings differ from real pictures by more than chance: {_said(figures, shifted)}."
        found = [_finding("shifted", "note", text, shifted)]
    for name in ("coverage/probe", "recall/probe"):
        share = _over_real(figures, name)
        if share is not None and share < NARROW:
            text = (
                f"Variety is missing: {figures[name]['value']:.0%} of the real pictures lie among the drawings "
                f"({name.split('/')[0]}), and {figures[name]['real']:.0%} among training pictures."
            )
            return [*found, _finding("narrow", "note", text, name)]
    return found


def _discriminator(figures: Mapping) -> list[Finding]:
    name = "discriminator/overfitting"
    if name in figures and figures[name]["value"] > OVERFITTED:
        text = (
            f"The discriminator knows its training pictures: {figures[name]['value']:.0%} of what tells them from "
            f"drawings is missing in held-out pictures (above {OVERFITTED:.0%})."
        )
        return [_finding("overfitted_discriminator", "note", text, name)]
    return []


def _swaps(binding: list[Mapping[str, Any]]) -> list[Finding]:
    swaps, chance = sum(pair["swaps"] for pair in binding), sum(pair["swaps_by_chance"] for pair in binding)
    if swaps >= LEAST_SWAPS and swaps > SWAPPED * chance:
        worst = " and ".join(max(binding, key=lambda pair: pair["swaps"])["attributes"])
        text = f"Values are swapped between things in {swaps} drawings, by chance in {chance:.1f}; most in {worst}."
        return [_finding("swapped_values", "note", text, "binding/swaps")]
    return []


def _weak_ruler(figures: Mapping, num_real: int | None) -> list[Finding]:
    """Says where little can be seen, whatever the figures are."""
    reasons, name = [], (_followed(figures) or ("", 0.0))[0]
    weak = name in WEAK_RETRIEVAL and figures[name]["real"] < WEAK_RETRIEVAL[name]
    if weak:
        among = " among the first five" if "at_5" in name else ""
        reasons.append(f"real pictures find their own caption{among} in {figures[name]['real']:.0%} of the cases")
    if num_real is not None and num_real < WEAK_PICTURES:
        reasons.append(f"there are {num_real} real pictures to compare with")
    if not reasons:
        return []
    return [_finding("weak_ruler", "note", f"The ruler is weak: {', and '.join(reasons)}.", *[name] * weak)]


def _never_told(share: float | None) -> list[Finding]:
    """What no training caption told of cannot be drawn right, whatever retrieval and distributions say."""
    if share is None or share < NEVER_TOLD:
        return []
    text = (
        f"Of these captions {share:.0%} have a word that no training caption has: expect no right pictures of those, "
        "and judge the others by eye."
    )
    return [_finding("words_never_told", "note", text)]


def _healthy(figures: Mapping, found: list[Finding], num_real: int | None, complete: bool) -> Finding:
    followed = _followed(figures)
    needed = ("diversity_across/pixels", "memorisation/copies")
    if followed is None or any(name not in figures for name in needed):
        if num_real is not None and num_real < FEW_PICTURES:
            count = counted(num_real, "picture")
            text = (
                f"Too little to tell: the split has {count}, and {FEW_PICTURES} or more are needed. Hold out more "
                "(config.data.test_fraction, val_fraction) or evaluate on --split=train, which flatters."
            )
            return _finding("too_few_pictures", "note", text)
        text = "Too few figures for a verdict: evaluate all groups of metrics."
        if complete:
            text = "No verdict: what was measured does not tell the captions of real pictures from shuffled ones."
        return _finding("incomplete", "note", text)
    name, share = followed
    start = "No grave fault" if found else "Healthy"
    how_far = f"{share:.0%} of the way to real pictures" if share <= 1 else "as far as real pictures, or farther"
    text = f"{start}: captions are followed ({how_far}), drawings of different ones differ and are not copies."
    if any(finding["finding"] in ("weak_ruler", "words_never_told") for finding in found):
        text = (
            f"Undecided: no grave fault can be seen by these figures (captions {how_far}; drawings of different "
            "ones differ and are not copies), and they see little. Look at the sheets."
        )
        return _finding("unsure", "note", text, name, *needed)
    return _finding("healthy", "good", text, name, *needed)


def _followed(figures: Mapping) -> tuple[str, float] | None:
    """The first figure of following that tells captions apart, and how far drawings are from floor to ceiling."""
    for name in ("attributes/mean", "retrieval/caption_at_1/probe", "retrieval/caption_at_5/probe"):
        figure = figures.get(name)
        if figure and figure["real"] is not None and figure["floor"] is not None:
            way = figure["real"] - figure["floor"]
            if way > MEASURABLE:
                return name, (figure["value"] - figure["floor"]) / way
    return None


def _over_real(figures: Mapping, name: str) -> float | None:
    figure = figures.get(name)
    return figure["value"] / figure["real"] if figure and figure["real"] else None


def _finding(name: str, level: str, text: str, *figures: str) -> Finding:
    return {"finding": name, "level": level, "text": text, "figures": list(figures)}
