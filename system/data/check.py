"""What a record must hold to become a row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..errors import UsageError
from .rows import MEMBER, OTHER, Row, Span

SAID = {True: MEMBER, False: OTHER, "true": MEMBER, "false": OTHER, "1": MEMBER, "0": OTHER}
"""What `member` may be, and the pool that it stands for; 1 and 0 are equal to true and false."""


def checked_row(record: Mapping[str, Any], place: str) -> Row:
    """Make a row of a record with `text`, `label` and, if present, `spans` and `member`.

    Raises:
        UsageError: a field is missing or is not what it should be; `place` (file and row) starts the sentence.
    """
    for name in ("text", "label"):
        if name not in record:
            found = ", ".join(sorted(map(str, record))) or "nothing"
            raise UsageError(f"{place}: no {name!r}; a row must hold 'text' and 'label', this one holds {found}")
    text = checked_text(record["text"], place)
    spans, pool = checked_spans(record.get("spans"), text, place), checked_pool(record.get("member"), place)
    return Row(text, checked_label(record["label"], place), spans, pool)


def checked_pool(value: Any, place: str) -> str:
    """Whether a released model was trained on the row, where the record says so."""
    if value is None or value == "":
        return ""
    said = SAID.get(value.lower() if isinstance(value, str) else value) if isinstance(value, str | int) else None
    if said is None:
        raise UsageError(f"{place}: member is {value!r}; it must be true or false")
    return said


def checked_text(value: Any, place: str) -> str:
    """The text as it stands, white space included, since spans count its characters."""
    if not isinstance(value, str):
        raise UsageError(f"{place}: text is {_shown(value)}; it must be a string")
    if not value.strip():
        raise UsageError(f"{place}: text is empty; it must hold at least one character that is not white space")
    return _encodable(value, "text", place)


def checked_label(value: Any, place: str) -> str:
    """The label as a string; numbers are taken as names."""
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    if missing or not isinstance(value, str | int | float):
        raise UsageError(f"{place}: label is {_shown(value)}; it must be a string or a number")
    if not str(value).strip():
        raise UsageError(f"{place}: label is empty; it must be a string or a number")
    return _encodable(str(value).strip(), "label", place)


def checked_spans(value: Any, text: str, place: str) -> tuple[Span, ...]:
    """The spans `{"start", "end", "type"}`, where a record holds any."""
    if value is None or value == "":
        return ()
    if not isinstance(value, list):
        raise UsageError(f"{place}: spans is {_shown(value)}; it must be a list of objects with start, end and type")
    return tuple(_span(item, text, place) for item in value)


def _span(item: Any, text: str, place: str) -> Span:
    fields = item if isinstance(item, dict) else {}
    start, end, kind = fields.get("start"), fields.get("end"), fields.get("type")
    if type(start) is int and type(end) is int and isinstance(kind, str) and 0 <= start < end <= len(text):
        return Span(start, end, kind)
    raise UsageError(f"{place}: span {item!r} is not in the text; it needs start < end <= {len(text)} and a type")


def _encodable(value: str, name: str, place: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{place}: {name} holds half of a surrogate pair; it must be valid Unicode") from None
    return value


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    return "NaN" if isinstance(value, float) and math.isnan(value) else f"of type {type(value).__name__}"
