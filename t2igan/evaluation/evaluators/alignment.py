"""Groups of metrics that ask whether the drawings follow their captions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from t2igan.evaluation import metrics
from t2igan.evaluation.evaluators.samples import Evaluation, Group, expected_labels, has_attributes, right_of

AT = (1, 5, 10)  # R-precision at so many
SHOWN_CAPTIONS = 16  # best, and worst


def attributes(evaluation: Evaluation) -> None:
    """The shares of attributes that are what the caption's picture has."""
    if not has_attributes(evaluation):
        evaluation.left_out["attributes"] = "the data has no attributes, or none that can be learned"
        return
    vocabulary = evaluation.extractors.vocabulary
    names = sorted(vocabulary)
    expected_real = expected_labels(evaluation)
    expected = expected_real[evaluation.drawn.places]
    labels, labels_real = evaluation.drawn.extracted["attributes"].labels, evaluation.real("attributes").labels
    fake = metrics.attributes_right(labels, expected)
    real = metrics.attributes_right(labels_real, expected_real)
    floor = metrics.attributes_right(labels, expected[evaluation.shuffled()])
    copied = evaluation.copied("attributes")
    copies = copied and metrics.attributes_right(copied.labels, expected)
    right = right_of(labels, expected)
    facts = {"group": "attributes", "extractor": "attributes", "direction": "higher", "num_images": len(labels)}

    def add(name: str, label: str, values: np.ndarray, of: Callable) -> None:
        interval = evaluation.interval_of_mean(values)
        beside = {"real": of(real), "floor": of(floor), "copied": copies and of(copies)}
        evaluation.add(f"attributes/{name}", of(fake), interval, **beside, label=label, **facts)

    add("mean", "attributes right", right, lambda x: x.mean)
    add("all", "  all at once", right.all(1), lambda x: x.all)
    if len(names) > 1:
        for i, name in enumerate(names):
            add(f"each/{name}", f"  {name}", right[:, i], lambda x, i=i: x.each[i])
    details = {}
    for i, name in enumerate(names):
        num = len(vocabulary[name])
        details[name] = {
            "values": list(vocabulary[name]),
            "generated": metrics.confusion(labels[:, i], expected[:, i], num).tolist(),
            "real": metrics.confusion(labels_real[:, i], expected_real[:, i], num).tolist(),
            "unknown": int((expected[:, i] < 0).sum()),
        }
    evaluation.details["attributes"] = details


def binding(evaluation: Evaluation) -> None:
    """Right values on the wrong things."""
    if not has_attributes(evaluation):
        evaluation.left_out["binding"] = "the data has no attributes, or none that can be learned"
        return
    expected = expected_labels(evaluation)
    fake = metrics.binding(
        evaluation.drawn.extracted["attributes"].labels,
        expected[evaluation.drawn.places],
        evaluation.extractors.vocabulary,
    )
    real = metrics.binding(evaluation.real("attributes").labels, expected, evaluation.extractors.vocabulary)
    if not fake:
        evaluation.left_out["binding"] = "no two attributes share values"
        return
    worst_first = sorted(fake, key=lambda pair: (-pair.swaps, -pair.leaks))
    evaluation.details["binding"] = [
        pair._asdict() | {"attributes": list(pair.attributes), "shared": list(pair.shared)} for pair in worst_first
    ]
    wrong, wrong_real = sum(pair.wrong for pair in fake), sum(pair.wrong for pair in real)
    if not wrong:
        evaluation.left_out["binding"] = "no drawing is wrong in attributes that share values"
        return
    facts = {"group": "binding", "extractor": "attributes", "direction": "lower"}
    facts["num_images"] = len(evaluation.drawn.captions)
    for name, label in (("swaps", "swapped, of the wrong"), ("leaks", "other's value, of the wrong")):
        share = sum(getattr(pair, name) for pair in fake) / wrong
        floor = sum(getattr(pair, f"{name}_by_chance") for pair in fake) / wrong
        of_real = sum(getattr(pair, name) for pair in real) / wrong_real if wrong_real else None
        evaluation.add(f"binding/{name}", share, real=of_real, floor=floor, label=label, **facts)


def retrieval(evaluation: Evaluation) -> None:
    """Does a picture find its caption among a hundred, and a caption its picture?"""
    drawn = evaluation.drawn
    for name in matchers(evaluation):
        matcher = evaluation.extractors.by_name[name]
        identities = matcher.identities(drawn.captions)
        if len(set(identities)) < 2:
            evaluation.left_out["retrieval"] = "it needs two different captions"
            return
        images, sentences = drawn.extracted[name].embedding, embed_captions(matcher, drawn.captions)
        once = np.sort(np.unique(drawn.places, return_index=True)[1])  # the first drawing of each real picture
        real_images = evaluation.real(name).embedding[drawn.places[once]]
        real_identities = [identities[i] for i in once]
        other = evaluation.shuffled()
        other_identities = [identities[i] for i in other]
        for sought, title in (("caption", "finds its caption"), ("picture", "caption finds it")):
            found, ceiling, floor = (
                _ranks(sought, *pair, captions=texts, seed=evaluation.seed)
                for pair, texts in (
                    ((images, sentences), identities),
                    ((real_images, sentences[once]), real_identities),
                    ((images, sentences[other]), other_identities),
                )
            )
            facts: dict[str, Any] = {"group": "retrieval", "extractor": name, "num_images": len(images)}
            for k in AT:
                if k >= found.candidates:
                    continue
                at = lambda x, k=k: float((x.ranks <= k).mean())
                label = f"{title}, R-precision at {k}"
                interval = evaluation.interval_of_mean(found.ranks <= k)
                figure, values = f"retrieval/{sought}_at_{k}/{name}", {"real": at(ceiling), "floor": at(floor)}
                evaluation.add(figure, at(found), interval, **values, label=label, direction="higher", **facts)
            for of, title_of in ((np.median, "median"), (np.mean, "mean")):
                values = {"real": float(of(ceiling.ranks)), "floor": float(of(floor.ranks))}
                figure = f"retrieval/{sought}_rank_{title_of}/{name}"
                interval = evaluation.interval_of_mean(found.ranks) if of is np.mean else None
                label = f"  {title_of} rank"
                evaluation.add(
                    figure, float(of(found.ranks)), interval, **values, label=label, direction="lower", **facts
                )
            if sought == "caption":
                evaluation.details.setdefault("retrieval", {})[name] = {"candidates": found.candidates}
                if name == matchers(evaluation)[0]:
                    ranks = found.ranks
        if name == matchers(evaluation)[0]:
            similarity = (images.astype(np.float64) * sentences).sum(1)
            evaluation.details["captions"] = _best_and_worst(evaluation, ranks, similarity)


def matchers(evaluation: Evaluation) -> list[str]:
    """The extractors that read captions, of those that look."""
    return [name for name, seen in evaluation.drawn.extracted.items() if seen.embedding is not None]


def embed_captions(matcher: Any, captions: list[str]) -> np.ndarray:
    """Embeds each different caption once; returns a row a caption."""
    different = list(dict.fromkeys(captions))
    place = {caption: i for i, caption in enumerate(different)}
    return matcher.embed_captions(different)[[place[caption] for caption in captions]]


def _ranks(sought: str, images: np.ndarray, sentences: np.ndarray, **kwargs: Any) -> metrics.Ranks:
    """Ranks of the captions that pictures look for, or of the pictures that captions look for."""
    queries, targets = (images, sentences) if sought == "caption" else (sentences, images)
    return metrics.match_ranks(queries, targets, **kwargs)


def _best_and_worst(evaluation: Evaluation, ranks: np.ndarray, similarity: np.ndarray) -> dict[str, list[dict]]:
    """One drawing a caption: by attributes right, then by rank, then by similarity."""
    share, wrong_of = np.zeros(len(ranks)), lambda i: {}  # noqa: ARG005
    known = has_attributes(evaluation) and "attributes" in evaluation.drawn.extracted
    if known:
        labels, expected = (
            evaluation.drawn.extracted["attributes"].labels,
            expected_labels(evaluation)[evaluation.drawn.places],
        )
        right = right_of(labels, expected)
        share = right.mean(1)
        values = [evaluation.extractors.vocabulary[name] for name in sorted(evaluation.extractors.vocabulary)]
        names = sorted(evaluation.extractors.vocabulary)

        def wrong_of(i: int) -> dict[str, list[str | None]]:
            return {
                names[a]: [values[a][expected[i, a]] if expected[i, a] >= 0 else None, values[a][labels[i, a]]]
                for a in np.flatnonzero(~right[i])
            }

    order = np.lexsort((similarity, -ranks, share))  # worst first

    def shown(ordered: np.ndarray) -> list[dict]:
        entries: dict[str, dict] = {}
        for i in ordered.tolist():
            caption = evaluation.drawn.captions[i]
            if caption in entries:
                continue
            entries[caption] = {
                "caption": caption,
                "seed": evaluation.drawn.seeds[i],
                "row": int(evaluation.real_rows[evaluation.drawn.places[i]]),
                "attributes_right": float(share[i]) if known else None,
                "rank": int(ranks[i]),
                "similarity": float(similarity[i]),
                "wrong": wrong_of(i),
            }
            if len(entries) == SHOWN_CAPTIONS:
                break
        return list(entries.values())

    return {"best": shown(order[::-1]), "worst": shown(order)}


GROUPS = {
    "attributes": Group((attributes,), ("attributes",)),
    "binding": Group((binding,), ("attributes",)),
    "retrieval": Group((retrieval,), ("attributes", "matchers")),
}
