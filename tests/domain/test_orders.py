"""The order life-cycle, compared cell by cell with a list written independently of it."""

from __future__ import annotations

import pytest

from agora.domain.orders import LIFE_CYCLE, TERMINAL, OrderChange, OrderStatus, next_status

# One row per status; the cells in the order of CHANGES; "." says nothing new (a repeat, or too late).
CHANGES = ("send", "accept", "reject", "lose", "fill_part", "fill_rest", "cancel", "expire")
GOLDEN = """
planned          sent accepted rejected unknown partially_filled filled cancelled expired
sent             .    accepted rejected unknown partially_filled filled cancelled expired
unknown          .    accepted rejected unknown partially_filled filled cancelled expired
accepted         .    .        .        .       partially_filled filled cancelled expired
partially_filled .    .        .        .       partially_filled filled cancelled expired
filled           .    .        .        .       .                .      .         .
cancelled        .    .        .        .       cancelled        filled .         .
rejected         .    .        .        .       partially_filled filled .         .
expired          .    .        .        .       expired          filled .         .
"""
ROWS = {cells[0]: cells[1:] for cells in (line.split() for line in GOLDEN.strip().splitlines())}
CELLS = [
    (status, change, "" if cell == "." else cell)
    for status, cells in ROWS.items()
    for change, cell in zip(CHANGES, cells, strict=True)
]


def rendered() -> str:
    """The table of the program in the form of the list above."""
    lines = []
    for status in OrderStatus:
        cells = [LIFE_CYCLE[status].get(change) or "." for change in OrderChange]
        lines.append(" ".join([status.value, *(str(cell) for cell in cells)]))
    return "\n".join(lines)


def test_the_list_names_every_status_and_change() -> None:
    """Nothing of the life-cycle escapes the comparison below."""
    assert set(ROWS) == set(OrderStatus)
    assert list(CHANGES) == list(OrderChange)
    assert len(CELLS) == len(OrderStatus) * len(OrderChange) == 72


@pytest.mark.parametrize("status, change, expected", CELLS)
def test_every_cell_of_the_life_cycle(status: str, change: str, expected: str) -> None:
    """The status after each change from each status, or nothing when the message is a repeat or too late."""
    assert (next_status(OrderStatus(status), OrderChange(change)) or "") == expected


def test_the_table_renders_as_written_here() -> None:
    """Whoever changes the life-cycle changes this picture of it, on purpose."""
    wanted = {" ".join(line.split()) for line in GOLDEN.strip().splitlines()}
    assert set(rendered().splitlines()) == wanted


def test_only_a_fill_can_follow_the_end_of_an_order() -> None:
    """Terminal states take fills, which are real money, and nothing else; a filled order takes nothing."""
    for status in TERMINAL:
        assert set(LIFE_CYCLE[status]) <= {OrderChange.FILL_PART, OrderChange.FILL_REST}
    assert not LIFE_CYCLE[OrderStatus.FILLED]


def test_every_open_status_has_a_way_to_every_end() -> None:
    """No order can be stuck: from each open status a fill, a cancel and an expiry end it."""
    ends = {OrderChange.FILL_REST, OrderChange.CANCEL, OrderChange.EXPIRE}
    for status in set(OrderStatus) - TERMINAL:
        assert {next_status(status, change) for change in ends} <= TERMINAL
