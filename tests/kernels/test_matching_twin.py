"""The matching kernel against its plain twin on seeded random commands, its invariants, and its compilation."""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
import pytest

from agora.kernels import matching as k
from agora.kernels import matching_layout as layout
from agora.kernels.compiled import Words
from tests.kernels import book_twin
from tests.kernels.book_twin import BookTwin, Row
from tests.kernels.matching_checker import FAULTS, book_fault, first_fault
from tests.kernels.matching_streams import Stream, kernel_depth, new_kernel_book, new_twin, play_kernel

ROOT = Path(__file__).resolve().parents[2]
IS_COMPILED = not numba.config.DISABLE_JIT
# 300,000 commands; uncompiled the kernel is some hundred times slower, so fewer keep the test in seconds.
SEEDS, COMMANDS = range(300 if IS_COMPILED else 10), 1_000
CHECKED_SEEDS = range(1_000, 1_200 if IS_COMPILED else 1_005)
DIGEST_SEEDS, DIGEST_COMMANDS = 5, 300
MUTANT_SEEDS = range(24)
ROOM = 20_000  # rows beyond what one call needs, so that a stream takes one or two calls


def _rows_of(stream: Stream, twin: BookTwin) -> tuple[list[Row], list[Row], Words]:
    """What kernel and twin say to the same thousand commands, and the kernel's book afterwards."""
    commands = stream.commands(COMMANDS)
    book = new_kernel_book(stream)
    out = np.zeros((len(k.new_out(stream.order_capacity)) + ROOM, k.OUT_COLUMNS), dtype=np.int64)
    rows = play_kernel(book, commands, out)
    return rows, list(itertools.chain.from_iterable(map(twin.play, commands))), book


@pytest.mark.parametrize("seed", SEEDS)
def test_kernel_and_twin_say_the_same(seed: int) -> None:
    """Over random commands on books of several sizes, every row and the final depth agree."""
    stream = Stream(seed)
    twin = new_twin(stream)
    rows, expected, book = _rows_of(stream, twin)
    place = next((n for n, (row, other) in enumerate(zip(rows, expected, strict=False)) if row != other), None)
    assert place is None, f"seed {seed}, row {place}: {rows[place]} instead of {expected[place]}"
    assert len(rows) == len(expected), f"seed {seed}"
    for side in (k.BUY, k.SELL):
        assert kernel_depth(book, side) == twin.depth(side), f"seed {seed}"


def test_random_commands_reach_every_code_and_reason() -> None:
    """The comparison is worth something: its commands meet each code, and each reason the book gives."""
    seen: set[tuple[int, int]] = set()
    for seed in range(60):
        stream = Stream(seed)
        twin = new_twin(stream)
        seen.update((row[k.CODE], row[k.REASON]) for command in stream.commands(COMMANDS) for row in twin.play(command))
    assert {code for code, _ in seen} == set(range(k.ACCEPTED, k.DECREMENTED + 1))
    assert {reason for _, reason in seen} == set(range(layout.DUE + 1))


MUTANTS = {
    "the last comes first": ("yield from tuple(queues[price])", "yield from tuple(queues[price])[::-1]"),
    "fills are at the taker's price": ("taker.flags, maker.price, lots", "taker.flags, taker.price, lots"),
    "the worst price comes first": ("reverse=order.side == k.SELL", "reverse=order.side == k.BUY"),
    "a larger replacement keeps its place": ("and size <= order.remaining)", ")"),
    "a smaller replacement loses its place": ("and size <= order.remaining)", "and size == order.remaining)"),
    "a rising price triggers one tick late": ("return price >= self.trigger", "return price > self.trigger"),
    "a price of nothing triggers": ("return 0 < price <= self.trigger", "return price <= self.trigger"),
    "the newest stop acts first": ("next((order for order in self", "next((order for order in reversed(self"),
    "fill or kill counts one's own": ("if maker.owner != order.owner:", "if maker.owner >= 0:"),
    "the oldest is spared": ("in (k.CANCEL_OLDEST, k.CANCEL_BOTH)", "in (k.CANCEL_BOTH,)"),
    "the newest goes on": ("in (k.CANCEL_NEWEST, k.CANCEL_BOTH)", "in (k.CANCEL_NEWEST,)"),
    "decrement trades": ("(k.DECREMENTED, order, own)", "(k.FILL, order, own)"),
    "post-only takes": ("if order.flags & k.POST_ONLY and self", "if order.price < 0 and self"),
    "expiry is late": ("order.expire_ts <= now]", "order.expire_ts < now]"),
    "a full book refuses what never rests": ("(k.CAPACITY, rests and ", "(k.CAPACITY, "),
    "an immediate rest stays": ("k.IOC_REMAINDER if order.tif == k.IOC", "k.IOC_REMAINDER if order.tif == k.FOK"),
}


def _mutant(old: str, new: str) -> type[BookTwin]:
    """The twin with one rule changed in its text."""
    text = Path(book_twin.__file__).read_text(encoding="utf-8")
    assert text.count(old) >= 1, f"the twin has no {old!r} any more"
    module = types.ModuleType("tests.kernels.book_twin_mutant")
    sys.modules[module.__name__] = module  # dataclasses look their module up
    text = text.replace(old, new)
    if "reversed(" in new:
        text = text.replace(".values() if order.is_reached", ".values()) if order.is_reached")
    exec(text, module.__dict__)  # noqa: S102 - our own text
    del sys.modules[module.__name__]
    changed: type[BookTwin] = module.BookTwin
    return changed


@pytest.mark.parametrize("name", MUTANTS)
def test_the_comparison_notices_a_changed_rule(name: str) -> None:
    """Any one rule of the twin broken on purpose is found within a few streams, so each rule is really compared."""
    changed = _mutant(*MUTANTS[name])
    for seed in MUTANT_SEEDS if IS_COMPILED else range(12):
        stream = Stream(seed)
        twin = changed(stream.order_capacity, 5)
        twin.last = stream.listing
        rows, expected, _ = _rows_of(stream, twin)
        if rows != expected:
            return
    pytest.fail(f"no stream tells the book from one where {name}")


@pytest.mark.parametrize("seed", CHECKED_SEEDS)
def test_the_buffer_is_sound_after_each_command(seed: int) -> None:
    """Never crossed; sums, links, ids, owners, expiry and free records agree after every single command."""
    stream = Stream(seed)
    book = new_kernel_book(stream)
    fault = first_fault(book, stream.commands(COMMANDS), k.new_out(stream.order_capacity))
    assert fault == (-1, ""), f"seed {seed}: {fault}"


def _busy_book() -> Words:
    """A book with orders on all four ladders and one that expires."""
    book, out = k.new_book(20, 3), k.new_out(20)
    k.set_last(book, 100)
    for number in range(5):
        k.submit(book, out, 10 + number, 0, k.BUY, k.LIMIT, k.GTC, 0, 98 - number // 2, 0, 5, 0, 1, 0)
        k.submit(book, out, 20 + number, 1, k.SELL, k.LIMIT, k.GTC, 0, 102 + number // 2, 0, 5, 0, 1, 0)
    k.submit(book, out, 30, 2, k.BUY, k.STOP, k.GTC, 0, 0, 105, 5, 0, 1, 0)
    k.submit(book, out, 31, 2, k.SELL, k.STOP, k.GTC, 0, 0, 95, 5, 0, 1, 0)
    k.submit(book, out, 32, 2, k.SELL, k.LIMIT, k.GTD, 0, 110, 0, 5, 50, 1, 0)
    assert book_fault(book) == 0
    return book


def _best_bid_key(book: Words) -> int:
    return int(book[layout.BIDS + layout.LADDER_KEYS] + book[layout.BIDS + layout.LADDER_COUNT] - 1)


PLANTED = [
    ("keys of a ladder do not rise", _best_bid_key, -(10**6)),
    ("a level's sums are not those of its orders", lambda book: book[k.order_at(book, 10) + layout.LEVEL] + 2, 1),
    ("an order stands at the wrong level", lambda book: k.order_at(book, 12) + layout.PRICE, 1),
    ("an order is not found by its id", lambda book: k.order_at(book, 12) + layout.ORDER_ID, 999),
    ("the number of orders is not that of the records", lambda _: layout.ORDER_COUNT, 1),
    ("an owner's list is broken", lambda book: k.order_at(book, 12) + layout.OWNER, 1),
    ("the list of those that expire is broken", lambda _: layout.EARLIEST_EXPIRY, 1_000),
    ("records were lost", lambda book: book[layout.FREE_ORDER] + layout.NEXT, 24),
    ("best bid or ask in the header is wrong", lambda _: layout.ASK_SIZE, 1),
    ("an order waits for a price that was reached", lambda _: layout.LAST_PRICE, 5),
]


@pytest.mark.parametrize("fault, word, change", PLANTED, ids=[case[0] for case in PLANTED])
def test_the_checker_notices_a_planted_fault(fault: str, word: Callable[[Words], int], change: int) -> None:
    """A buffer damaged on purpose is called by the fault it has."""
    book = _busy_book()
    book[word(book)] += change
    assert FAULTS[book_fault(book)] == fault


def streams_digest() -> str:
    """A digest of all rows and buffers of some streams."""
    digest = hashlib.sha256()
    for seed in range(DIGEST_SEEDS):
        stream = Stream(seed)
        book, out = new_kernel_book(stream), k.new_out(stream.order_capacity)
        digest.update(repr(play_kernel(book, stream.commands(DIGEST_COMMANDS), out)).encode())
        digest.update(book.tobytes())
    return digest.hexdigest()


def test_the_kernel_does_the_same_without_compilation() -> None:
    """Rows and buffers are the same bits when the functions run as plain Python."""
    code = "from tests.kernels.test_matching_twin import streams_digest; print(streams_digest())"
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == streams_digest()


def test_a_copied_buffer_goes_on_alike() -> None:
    """The buffer is the whole state: a book restored from its bytes says what the original says."""
    stream = Stream(4)
    first, second = stream.commands(COMMANDS), stream.commands(COMMANDS)
    book, out = new_kernel_book(stream), k.new_out(stream.order_capacity)
    play_kernel(book, first, out)
    restored = np.frombuffer(book.tobytes(), dtype=np.int64).copy()
    assert play_kernel(restored, second, out) == play_kernel(book, second, out)
    assert restored.tobytes() == book.tobytes()
