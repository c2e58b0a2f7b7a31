"""What rows of Bitunix have in common: their symbol, and the total of a paged answer. No IO."""

from __future__ import annotations

from agora.venues.bitunix.wire_values import word_of
from agora.venues.wire_rows import Fields
from agora.venues.wire_values import whole_of


def total_of(data: object) -> int | None:
    """How many rows there are in all, where a paged answer says so."""
    total = data.get("total") if isinstance(data, dict) else None
    return None if total is None or total == "" else whole_of(total, "total")


def symbol_of(row: Fields) -> str:
    """The symbol of a row, in upper case."""
    return word_of(row.get("symbol"), "symbol")
