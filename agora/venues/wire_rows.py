"""Answers of venues as rows: a list, a list under a name, or an object alone. No IO, no venue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from agora.venues.wire_values import Malformed

Fields = dict[str, Any]
Row = TypeVar("Row")
# No answer of a venue is a list of more rows: the largest, a whole book, has some 24,000 levels.
ROWS_MAX = 50_000


def rows_of(data: object, read: Callable[[Fields], Row], key: str = "") -> list[Row]:
    """The rows of a list, or of the list under `key`; an object alone is a list of one. Raises `Malformed`."""
    if key and isinstance(data, dict):
        data = data.get(key)
    if data is None or data == "":
        return []
    if isinstance(data, dict):
        data = [data]
    return [read(fields_of(row)) for row in list_of(data)]


def row_of(data: object, read: Callable[[Fields], Row]) -> Row:
    """The one row of an answer that is an object, or a list of one; raises `Malformed`."""
    rows = rows_of(data, read)
    if len(rows) != 1:
        raise Malformed(f"one row was expected, found {len(rows)}")
    return rows[0]


def list_of(data: object, *, most: int = ROWS_MAX) -> list[Any]:
    """A list of bounded length; raises `Malformed`."""
    if not isinstance(data, list):
        raise Malformed(f"a list was expected, found {type(data).__name__}")
    if len(data) > most:
        raise Malformed(f"a list of at most {most} rows was expected, found {len(data)}")
    return data


def fields_of(row: object) -> Fields:
    """The fields of an object; raises `Malformed`."""
    if not isinstance(row, dict):
        raise Malformed(f"an object was expected, found {type(row).__name__}")
    return row
