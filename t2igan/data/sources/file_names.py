"""Captions in the names of files, by `config.data.caption_from_name`.

"{caption}_{}"               a red circle_0001.png, a_red_circle_0001.png: all but what is behind the last "_"
"{}-{caption}"               0001-a-red-circle.png: all but what is before the first "-"
"{artist}/{caption} ({})"    with a "/" it is the whole path; other names become attributes
r"\\d+_(?P<caption>.+)"       a regular expression that names its group `caption`
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import unquote

from t2igan.data.sources.captions import as_captions, readable_label
from t2igan.data.sources.names import stem
from t2igan.errors import UserError

FIELD = re.compile(r"\{(\w*)\}")


@lru_cache(maxsize=64)
def pattern_of(template: str) -> re.Pattern[str]:
    """Returns the regular expression of a template; UserError where it is none or gives no caption."""
    where = f"config.data.caption_from_name={template!r}"
    accepted = 'Accepted: a template such as "{caption}_{}", or a regular expression with (?P<caption>...).'
    if "(?P<caption>" in template:
        source = template
    elif "{caption}" in template:
        parts, end = [], 0
        for match in FIELD.finditer(template):
            parts.append(re.escape(template[end : match.start()]))
            # The caption takes all that it can; what is beside it as little as there may be.
            parts.append("(?P<caption>.+)" if match[1] == "caption" else f"(?P<{match[1]}>.+?)" if match[1] else ".+?")
            end = match.end()
        source = "".join(parts) + re.escape(template[end:])
    else:
        raise UserError(f"{where} does not say where the caption is.\n{accepted}")
    try:
        return re.compile(source)
    except re.error as error:
        raise UserError(f"{where} is no regular expression: {error}.\n{accepted}") from error


def caption_in_name(name: str, template: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Returns the caption and the attributes in the name of a picture; ((), {}) where it does not fit the template."""
    path = stem(name)
    text = path if "/" in template else path.rpartition("/")[2]
    match = pattern_of(template).fullmatch(text)
    if match is None:
        return (), {}
    groups = {key: value for key, value in match.groupdict().items() if value}
    caption = _readable(groups.pop("caption", ""))
    return as_captions(caption), {key: readable_label(value) for key, value in groups.items()}


def _readable(text: str) -> str:
    """Returns a caption with blanks for what stands for them in names: "_" and "+"; "-" where there are no blanks."""
    text = unquote(text).replace("_", " ").replace("+", " ")
    return text if " " in text.strip() else text.replace("-", " ")
