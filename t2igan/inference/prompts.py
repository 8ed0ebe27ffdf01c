"""The language of prompts: weights, AND, and what is not wanted, turned into captions whose styles are added up.

    (a red hat:1.3)     the phrase counts by 1.3 instead of 1; 0 leaves it out. From 0 to 1.5
    one AND other       both captions hold, each as if it stood alone
    negative="a hat"    what is not wanted: taken out of the prompt where it says so, or else leaned away from
    \\( \\) \\AND         a bracket, or the word, as such

A bracket belongs to the language where it ends in a colon and a number; any other is text, and so is AND in a prompt
that has no lower-case letter. A caption without the language is read as it stands.

What is said is a sum: with s(c) the style of a caption c, a prompt's style is sum_i a_i s(c_i) with sum_i a_i = 1.
A phrase of weight w adds (w - 1) (s(c) - s(c without it)); captions joined by AND become one caption where they are
made of the same phrases but for some, and otherwise add s(c_i) - s(base) to that of what they have in common; what is
not wanted is subtracted likewise. It is the arithmetic of prompts in the style space of
the generator, after "linear semantics" of word vectors (Mikolov et al. 2013, 1301.3781) and StyleGAN's W.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import itertools
import re

from t2igan.errors import UserError

MAX_WEIGHT = 1.5  # beyond, other things than the phrase begin to change
READ_FROM = 0.5  # the weight from which on a phrase's words are read
SHARED = 0.5  # captions joined by AND have a base where they share so much of the shorter one's words

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)"
_WEIGHTED = re.compile(rf"\(([^()]*?):\s*({_NUMBER})\s*\)")
_UNCLOSED = re.compile(rf"\([^()]*:\s*{_NUMBER}(?=\s*(?:$|[,;]|\bAND\b))")
_UNOPENED = re.compile(rf":\s*{_NUMBER}\s*\)")
_NO_NUMBER = re.compile(r"\(([^()]*?):\s*([+-]?\d[\d.,]*)\s*\)")
_AND = re.compile(r"(?:^|(?<=\s))AND(?=\s|$)")
_ESCAPED = {r"\(": "\ue000", r"\)": "\ue001", r"\AND": "\ue002"}  # of Unicode's private use
_JOINTS = re.compile(r"(,\s*(?:and\s+)?|\s+(?:and|with)\s+)", re.IGNORECASE)
_ARTICLES = ("a", "an", "the")
_CONNECTING = (*_ARTICLES, "and", "or", "with", "of", "in", "on", "")
_DOING = r"(?:wearing|holding|carrying)\b"  # begins a phrase, and is a part of it
_BOUND = re.compile(rf",\s*|\b(?:and|or|with)\s+|\s(?={_DOING})", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Prompt:
    """What a prompt means: captions, by how much the style of each counts, and which of them are read word by word."""

    captions: tuple[str, ...]
    shares: tuple[float, ...]  # one a caption; they sum to 1
    read: tuple[str, ...]
    notes: tuple[str, ...] = ()  # what was changed of what was asked, for the user

    @property
    def caption(self) -> str | None:
        """The caption that this is, where it is one; None where the language says more."""
        return self.captions[0] if len(self.captions) == 1 and self.read == self.captions else None

    @classmethod
    def plain(cls, caption: str) -> Prompt:
        """Returns what a caption means as it stands, brackets and all."""
        return cls((caption,), (1.0,), (caption,))


def parse(prompt: str, negative: str = "", unite: bool = True) -> Prompt:
    """Returns what a prompt means.

    Args:
      prompt: in the language of the module's docstring.
      negative: what is not wanted, phrases between commas; "" = nothing.
      unite: whether captions joined by AND may become one, which is longer than each.

    Raises:
      UserError: a bracket with a weight is not closed or not opened, a weight is no number, or nothing is left.
    """
    return _parsed(prompt, negative, unite)


@functools.lru_cache(maxsize=1024)  # which takes `parse(prompt)` and `parse(prompt, "")` for different calls
def _parsed(prompt: str, negative: str, unite: bool) -> Prompt:
    text = prompt
    for written, mark in _ESCAPED.items():
        text = text.replace(written, mark)
    _check_brackets(text)
    notes: list[str] = []
    parts = _AND.split(text) if any(c.islower() for c in text) else [text]
    if len(parts) > 1 and not all(part.strip() for part in parts):
        raise UserError(f"prompt {prompt!r} has nothing on one side of AND; write \\AND for the word as such")
    sums = [_of_part(part, prompt, notes, may_be_all=number > 0) for number, part in enumerate(parts)]
    meant = sums[0] if len(sums) == 1 else _joined(sums, unite)
    for phrase in filter(None, map(str.strip, negative.split(","))):
        meant = _without_unwanted(meant, phrase, notes)
    shares = {caption: share for caption, share in meant.shares.items() if abs(share) > 1e-9}
    plain = {caption: _unescaped(caption) for caption in (*shares, *meant.read)}
    return Prompt(
        tuple(plain[caption] for caption in shares),
        tuple(shares.values()),
        tuple(plain[caption] for caption in meant.read),
        tuple(dict.fromkeys(notes)),
    )


@dataclasses.dataclass
class _Sum:
    """Captions and their shares, those whose words are read, and the caption in which every phrase is said."""

    shares: dict[str, float]
    read: list[str]
    said: str

    def add(self, caption: str, share: float) -> None:
        self.shares[caption] = self.shares.get(caption, 0.0) + share


def _check_brackets(text: str) -> None:
    for match in _NO_NUMBER.finditer(text):
        if not _WEIGHTED.fullmatch(match[0]):
            raise UserError(
                f"{_unescaped(match[0])!r} has the weight {match[2]!r}, which is no number; write it as in "
                f"({_unescaped(match[1])}:1.3)"
            )
    rest = _WEIGHTED.sub(lambda match: "#" * len(match[0]), text)
    if unclosed := _UNCLOSED.search(rest):
        raise UserError(
            f"the bracket in {_unescaped(unclosed[0])!r} is not closed; add ')' after the weight, or write \\( for a "
            f"bracket as such"
        )
    if unopened := _UNOPENED.search(rest):
        before = rest[max(unopened.start() - 24, 0) : unopened.end()].lstrip()
        raise UserError(
            f"{_unescaped(before)!r} ends in a weight, and no bracket is open; add '(' before the phrase, or write "
            f"\\) for a bracket as such"
        )


def _of_part(part: str, prompt: str, notes: list[str], may_be_all: bool) -> _Sum:
    """One caption with its weighted phrases; one that `may_be_all` there is leaves "" where it does not count."""
    found = list(_WEIGHTED.finditer(part))
    if not found:
        caption = part.strip() if part != prompt else part  # a whole prompt stays as it is, to the byte
        return _Sum({caption: 1.0}, [caption], caption)
    weights = [_clamped(match, notes) for match in found]
    said = _said(part, found, [True] * len(found))
    of = _Sum({said: 1.0}, [_said(part, found, [weight >= READ_FROM for weight in weights])], said)
    for i, weight in enumerate(weights):
        if weight == 1:
            continue
        without = _said(part, found, [j != i for j in range(len(found))])
        if not without and not may_be_all:
            raise UserError(f"prompt {prompt!r} has nothing beside the phrase with a weight; say what it belongs to")
        of.add(said, weight - 1)
        of.add(without, 1 - weight)
    of.read = [caption or said for caption in of.read]
    return of


def _clamped(match: re.Match, notes: list[str]) -> float:
    weight = float(match[2])
    if not 0 <= weight <= MAX_WEIGHT:
        nearest = min(max(weight, 0.0), MAX_WEIGHT)
        notes.append(
            f"the weight {match[2]} of {_unescaped(match[1])!r} counts as {nearest:g}: from 0 to {MAX_WEIGHT:g} other "
            f"things stay as they are"
        )
        return nearest
    return weight


def _said(part: str, found: list[re.Match], kept: list[bool]) -> str:
    """A part as a caption, of whose weighted phrases only some are kept."""
    text = part
    for match, keep in reversed(list(zip(found, kept, strict=True))):  # from the end, so that places stay right
        if keep:
            text = text[: match.start()] + match[1].strip() + text[match.end() :]
        else:
            text = without_span(text, match.start(), match.end())
    return text.strip()


def _joined(sums: list[_Sum], unite: bool) -> _Sum:
    """Captions that all hold: one that says it all, or s(base) + sum_i (s(c_i) - s(base)), and all their words.

    The base is what the captions have in common, word by word. Where that is little, as with phrases behind a caption,
    it is the first caption, and each other one is said after it: "c_1 and c_i".
    """
    plain = all(list(of.shares) == of.read == [of.said] for of in sums)
    if unite and plain and (united := _united([of.said for of in sums])):
        return _Sum({united: 1.0}, [united], united)
    words = [of.said.split() for of in sums]
    common = functools.reduce(_common, words)
    telling = lambda words: sum(word.lower().strip(",") not in _CONNECTING for word in words)
    first, joined = sums[0], _Sum({}, [], ", ".join(of.said for of in sums))
    if telling(common) >= max(SHARED * min(map(telling, words)), 1):
        base, others = _tidied(" ".join(common)), sums
        joined.read = [caption for of in sums for caption in of.read]
    else:
        base, others = first.said, [first]
        others += [_prefixed(of, first.said) for of in sums[1:]]
        joined.read = [caption for of in others[1:] for caption in of.read]
    for of in others:
        for caption, share in of.shares.items():
            joined.add(caption or base, share)
    joined.add(base, 1.0 - len(others))
    joined.read = list(dict.fromkeys(joined.read))
    return joined


def _united(captions: list[str]) -> str | None:
    """One caption that says all that several say; None where these share too little, or contradict each other.

    What only a later one says between commas, "and" and "with" is put behind what it says before that. Two phrases that
    end in the same word, as a red cap and a blue one, are left to the arithmetic of styles.
    """
    united = _JOINTS.split(captions[0].strip())  # phrase, joint, phrase, ...
    for caption in captions[1:]:
        ours, theirs = united[::2], _JOINTS.split(caption.strip())[::2]
        shared = [phrase for phrase in theirs if phrase in ours]
        if theirs[0] != ours[0] or len(shared) < max(SHARED * min(len(ours), len(theirs)), 2):
            return None
        heads = {phrase.split()[-1] for phrase in ours if phrase and phrase not in theirs}
        for before, phrase in itertools.pairwise(theirs):
            if phrase in united[::2]:
                continue
            if not phrase or phrase.split()[-1] in heads:
                return None
            place = 2 * united[::2].index(before) + 1  # of the joint behind it
            joint = united[place] if place < len(united) else ""
            opens = joint.strip().lower() == "with"
            united[place : place + 1] = [
                joint if opens else ", ",
                phrase,
                *([", " if opens else joint] if joint else []),
            ]
    return "".join(united)


def _prefixed(of: _Sum, first: str) -> _Sum:
    """A phrase said with a caption: before its last "and", or after it."""
    head, joint, tail = first.rpartition(" and ")
    ahead = f"{head}, " if joint else f"{first} and "
    say = lambda caption: f"{ahead}{caption}{joint}{tail if joint else ''}" if caption else first
    return _Sum({say(c): share for c, share in of.shares.items()}, [say(c) for c in of.read], say(of.said))


def _common(one: list[str], other: list[str]) -> list[str]:
    """The longest words in a row that two captions share, in order."""
    blocks = difflib.SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    return [word for block in blocks for word in one[block.a : block.a + block.size]]


def _without_unwanted(meant: _Sum, phrase: str, notes: list[str]) -> _Sum:
    """Takes a phrase out of all captions where the prompt says it; otherwise leans away from the prompt with it."""
    if _place_of(phrase, meant.said) is None:
        added = f"{meant.said} and {phrase}"
        meant.add(meant.said, 1.0)
        meant.add(added, -1.0)
        return meant
    take_out = lambda caption: _without_phrase(phrase, caption)
    if not all(map(take_out, (*meant.shares, *meant.read))):
        raise UserError(f"negative={phrase!r} leaves nothing of the prompt; say what to draw instead")
    notes.append(f"{phrase!r} is taken out of the prompt, which says it")
    left = _Sum({}, [take_out(caption) for caption in meant.read], take_out(meant.said))
    for caption, share in meant.shares.items():
        left.add(take_out(caption), share)
    left.read = list(dict.fromkeys(left.read))
    return left


def _without_phrase(phrase: str, caption: str) -> str:
    """A caption without what says the phrase: the whole of what stands between commas, "and", "with", and "wearing"."""
    while place := _place_of(phrase, caption):
        start, end = place
        bounds = [0, *(m.end() for m in _BOUND.finditer(caption) if m.end() <= start)]
        if bounds[-1]:  # not the first, which says what it is a picture of
            start = bounds[-1]
            after = re.search(_BOUND, caption[end:])
            end = end + after.start() if after else len(caption)
        caption = without_span(caption, start, end)
    return caption


def _place_of(phrase: str, caption: str) -> tuple[int, int] | None:
    """Where a phrase stands in a caption, without its article; as whole words, in whatever case."""
    words = phrase.split()
    if len(words) > 1 and words[0].lower() in _ARTICLES:
        words = words[1:]
    found = re.search(r"(?<!\w)" + r"\s+".join(map(re.escape, words)) + r"(?!\w)", caption, re.IGNORECASE)
    return found.span() if found else None


def without_span(text: str, start: int, end: int) -> str:
    """Returns a caption without a part of it, and without the article, comma, "and" or "with" that then hangs loose."""
    left, right = text[:start].rstrip(), text[end:].lstrip()
    left = re.sub(r"(?:^|(?<=\s))(?:an?|the)$", "", left, flags=re.IGNORECASE).rstrip()
    before = re.search(r"(,|\b(?:and|or|with))$", left, re.IGNORECASE)
    after = re.match(r"(,|(?:and|or)\b)\s*", right, re.IGNORECASE)
    if before and (after or not right or right[0] in ".;!?" or re.match(_DOING, right, re.IGNORECASE)):
        goes_on = after and (after[1] != "," or re.search(r"\band\b", right, re.IGNORECASE))
        if before[1].lower() == "with" and after and goes_on:  # "with [a beard], glasses and a hat"
            right = right[after.end() :]
        else:
            left = left[: before.start()].rstrip()
    elif after and not left:
        right = right[after.end() :]
    joint = " " if left and right and right[0] not in ",.;:!?" else ""
    return left + joint + right


def _tidied(caption: str) -> str:
    """A caption of words in common, without connecting words that stand side by side or at an end."""
    caption = re.sub(r"\b(an?|the)\s+(?=(?:and|or|with|an?|the)\b|,|$)", "", caption, flags=re.IGNORECASE)
    caption = re.sub(r"(?:,|\b(?:and|or))\s*(?=,|\b(?:and|or)\b)", " ", caption, flags=re.IGNORECASE)
    caption = re.sub(r"\s+(?=,|\s)", "", caption)
    caption = re.sub(r"\bwith\s*(?:,|\b(?:and|or)\b)\s*", "with ", caption, flags=re.IGNORECASE)
    return re.sub(r"(?:\s|,|\b(?:and|or|with))+$", "", caption, flags=re.IGNORECASE).strip()


def _unescaped(text: str) -> str:
    for written, mark in _ESCAPED.items():
        text = text.replace(mark, written[1:])
    return text
