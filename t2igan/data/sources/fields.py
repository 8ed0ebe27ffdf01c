"""Which column of a table, or field of a JSON object, holds the caption or the name of the file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

# Where a table has several of these, a row takes its caption from the first that is not empty.
CAPTION_FIELDS = ("text", "caption", "captions", "texts", "sentence", "sentences", "description", "prompt")
EXPECTED_FIELDS = CAPTION_FIELDS[:3]  # of which nobody need be told
# What a caption is called where nothing is called by one of those names; the likeliest first, and one for all rows.
OTHER_CAPTION_FIELDS = (
    *("descriptions", "prompts", "annotation_text", "txt", "cap", "caps", "desc", "title", "titles"),
    *("alt", "alts", "comment", "comments", "summary", "utterance", "phrase", "expression", "raw"),
)
# "blip_caption", "text_en", "image_caption": one of these words, and otherwise only such as say what kind of caption.
CAPTION_WORDS = frozenset(
    "text texts caption captions sentence description descriptions prompt prompts title alt".split()
)
KIND_WORDS = frozenset(
    "image img picture pic photo product item full raw clean cleaned short long brief dense detailed simple main "
    "blip blip2 llava gpt gpt4 gpt4v gpt4o cogvlm florence qwen gemini clip generated gen synthetic auto ai machine "
    "human user manual new old orig original final processed re best top first english en de fr es it pt nl ru zh ja "
    "ko ar pl tr sv cs text caption".split()
)
FILE_FIELDS = (
    *("file_name", "filename", "file", "path", "filepath", "file_path"),
    *("image", "image_path", "image_name", "img"),
    *("image_file", "image_filename", "image_file_name", "img_path", "img_name", "img_file", "imagepath", "imagename"),
    *("picture", "photo", "local_path", "relative_path", "rel_path"),
)
LATER_FIELDS = ("conversations", "conversation", "messages")  # of LLaVA and of chats: what is answered is the caption


def plain(name: str) -> str:
    """Returns the name of a column as it is compared: in lower case, "_" for blanks and hyphens in it."""
    return re.sub(r"[\s\-]+", "_", name.strip().lower())


def caption_fields(names: Iterable[str], asked: str = "") -> tuple[str, ...]:
    """Returns the fields that captions are taken from, of the `plain` names that there are; () where there is none.

    `asked` is `config.data.caption_field`: that alone, whether it is there or not.
    """
    return (asked, plain(asked)) if asked else _caption_fields(tuple(names))


@lru_cache(maxsize=1024)
def _caption_fields(names: Sequence[str]) -> tuple[str, ...]:
    usual = tuple(field for field in CAPTION_FIELDS if field in names)
    if usual:
        return usual
    others = [field for field in OTHER_CAPTION_FIELDS if field in names]
    return tuple(others[:1] or [name for name in names if _is_kind_of_caption(name)][:1])


def _is_kind_of_caption(name: str) -> bool:
    words = {word for word in re.split(r"[\W_]+", plain(name)) if not word.isdigit() and len(word) > 1}
    return bool(words & CAPTION_WORDS) and words <= CAPTION_WORDS | KIND_WORDS
