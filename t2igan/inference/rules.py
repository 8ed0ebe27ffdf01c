"""What an owner lets a model be asked for: a list of what no prompt may have, and a list of all that one may have."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from t2igan.data.seen import words_of
from t2igan.errors import UserError


@dataclasses.dataclass(frozen=True)
class PromptRules:
    """Rules for prompts. Words are compared whole, without regard to capitals and compatibility forms."""

    deny: tuple[tuple[str, ...], ...] = ()  # words, or phrases of several, that refuse a prompt
    allow: frozenset[str] | None = None  # where given, all the words that there may be

    @classmethod
    def of(cls, deny: Iterable[str] = (), allow: Iterable[str] | None = None) -> PromptRules:
        """Returns the rules of lists of words and phrases; of `allow` each word of a phrase is allowed."""
        phrases = tuple(words for line in deny if (words := tuple(words_of(line))))
        return cls(phrases, None if allow is None else frozenset(word for line in allow for word in words_of(line)))

    @classmethod
    def read(cls, deny: Path | None, allow: Path | None) -> PromptRules:
        """Returns the rules of text files, a word or phrase a line; what follows a # is a comment.

        Raises:
          UserError: a file cannot be read, or has no words.
        """
        return cls.of(_lines(deny, "--deny") if deny else (), _lines(allow, "--allow") if allow else None)

    def check(self, prompts: Iterable[str]) -> None:
        """Raises `UserError` for the first prompt that the rules refuse, with the words that do."""
        for prompt in prompts if self.deny or self.allow is not None else ():
            words = words_of(prompt)
            for phrase in self.deny:
                if any(tuple(words[i : i + len(phrase)]) == phrase for i in range(len(words) - len(phrase) + 1)):
                    raise UserError(
                        f"the prompt {prompt[:160]!r} has {' '.join(phrase)!r}, which is not to be drawn here"
                    )
            if self.allow is not None and (others := [word for word in words if word not in self.allow]):
                raise UserError(
                    f"the prompt {prompt[:160]!r} has {others[0]!r}, which is not among the {len(self.allow):,} words "
                    f"that are allowed here"
                )


def _lines(path: Path, flag: str) -> list[str]:
    try:
        lines = [line.split("#")[0].strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{flag}={path} cannot be read ({error}); give a UTF-8 text file") from error
    if not any(words_of(line) for line in lines):
        raise UserError(f"{flag}={path} has no words; give a word or phrase a line")
    return lines
