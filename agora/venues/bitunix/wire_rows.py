"""Answers of Bitunix as rows: a list, a list under a name, or an object alone. No IO."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from agora.venues.bitunix.wire_values import Malformed, whole_of, word_of

Fields = dict[str, Any]
Row = TypeVar("Row")
# No answer of the venue is a list of more rows: the largest, the whole book, has some 24,000 levels.
ROWS_MAX = 50_000


def rows_of(data: object, read: Callable[[Fields], Row], key: str = "") -> list[Row]:
    """The rows of a list, or of the list under `key`; an object alone is a list of one. Raises `Malformed`."""
    if key and isinstance(data, dict):
        data = data.get(key)
    if data is None or data == "":
        return []
    if isinstance(data, dict):
        data = [data]
    if not isinstance(data, list) or len(data) > ROWS_MAX:
        raise Malformed(f"a list of at most {ROWS_MAX} rows was expected, found {type(data).__name__}")
    return [read(_fields(row)) for row in data]


def row_of(data: object, read: Callable[[Fields], Row]) -> Row:
    """The one row of an answer that is an object, or a list of one; raises `Malformed`."""
    rows = rows_of(data, read)
    if len(rows) != 1:
        raise Malformed(f"one row was expected, found {len(rows)}")
    return rows[0]


def total_of(data: object) -> int | None:
    """How many rows there are in all, where a paged answer says so."""
    total = data.get("total") if isinstance(data, dict) else None
    return None if total is None or total == "" else whole_of(total, "total")


def _fields(row: object) -> Fields:
    if not isinstance(row, dict):
        raise Malformed(f"an object was expected, found {type(row).__name__}")
    return row


def symbol_of(row: Fields) -> str:
    """The symbol of a row, in upper case."""
    return word_of(row.get("symbol"), "symbol")
