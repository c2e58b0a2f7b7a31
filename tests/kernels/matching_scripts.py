"""A small language for book scenarios: one line per command, one line per row the book answers.

`1 ann buy 10 @ 100` is a limit order; words after the price add attributes: `gtd 50`, `ioc`, `fok`, `post`, `reduce`,
`stop 105`, `profit 95`, and what to do on meeting one's own order. `market` stands for the price. Other commands:
`cancel 1 ann`, `cancel-all ann`, `replace 1 ann 5 @ 101`, `cut 1 ann 3`, `time 50`, `last 100`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from agora.kernels import matching as k
from tests.kernels.book_twin import BookTwin, Command, Row
from tests.kernels.matching_streams import kernel_depth, play_kernel

OWNERS = ("ann", "bob", "cid", "dot")
CAPACITY = 6

_TIFS = {"gtc": k.GTC, "ioc": k.IOC, "fok": k.FOK, "gtd": k.GTD}
_TYPES = {"market": k.MARKET, "stop": k.STOP, "profit": k.TAKE_PROFIT}
_FLAGS = {"post": k.POST_ONLY, "reduce": k.REDUCE_ONLY}
_OWN = {"newest": k.CANCEL_NEWEST, "oldest": k.CANCEL_OLDEST, "both": k.CANCEL_BOTH, "decrement": k.DECREMENT}
_REASONS = {
    k.UNKNOWN_ACCOUNT: "unknown account", k.UNKNOWN_ORDER: "unknown order", k.NOT_YOURS: "not yours",
    k.DUPLICATE_ID: "duplicate id", k.BAD_PRICE: "bad price", k.BAD_SIZE: "bad size", k.BAD_TRIGGER: "bad trigger",
    k.BAD_EXPIRY: "bad expiry", k.TOO_LARGE: "too large", k.BAD_COMBINATION: "bad combination",
    k.POST_ONLY_WOULD_CROSS: "would cross", k.FOK_NOT_FILLABLE: "not fillable", k.NO_LIQUIDITY: "no liquidity",
    k.IOC_REMAINDER: "remainder", k.CAPACITY: "full", k.SELF_TRADE: "self-trade", k.REQUESTED: "requested",
    k.DUE: "due",
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A scenario: commands, the rows but for ACCEPTED ones, and the book afterwards as `size@price`, bids | asks."""

    name: str
    script: str
    told: str = ""
    book: str = "|"


def command(line: str) -> Command:
    """The command that a line of a script stands for."""
    words = iter(line.replace("@", " ").split())
    first = next(words)
    fields = {"op": k.OP_SUBMIT, "id": 0, "owner": 0, "side": 0, "type": 0, "tif": 0, "flags": 0, "price": 0,
              "trigger": 0, "size": 0, "expire": 0, "own": 0, "now": 0}  # fmt: skip
    if first == "time":
        fields |= {"op": k.OP_EXPIRE, "now": int(next(words))}
    elif first == "cancel-all":
        fields |= {"op": k.OP_CANCEL_ALL, "owner": _owner(next(words))}
    elif first in {"cancel", "replace", "cut"}:
        op = {"cancel": k.OP_CANCEL, "replace": k.OP_REPLACE, "cut": k.OP_REDUCE}[first]
        fields |= {"op": op, "id": int(next(words)), "owner": _owner(next(words))}
        fields |= {"size": int(next(words, 0)), "price": int(next(words, 0))}
    else:
        fields |= {"id": int(first), "owner": _owner(next(words)), "side": k.BUY if next(words) == "buy" else k.SELL}
        fields |= {"size": int(next(words)), "type": k.LIMIT, "tif": k.GTC, "own": k.CANCEL_NEWEST}
        for word in words:
            _read_attribute(fields, word, lambda: int(next(words)))
    return tuple(fields.values())


def _owner(name: str) -> int:
    return OWNERS.index(name) if name in OWNERS else len(OWNERS)


def _read_attribute(fields: dict[str, int], word: str, number: Callable[[], int]) -> None:
    if word in _TYPES:
        fields["type"] = max(_TYPES[word], fields["type"])
        if word != "market":
            fields["trigger"] = number()
    elif word in _TIFS:
        fields["tif"] = _TIFS[word]
        fields["expire"] = number() if word == "gtd" else 0
    elif word in _FLAGS:
        fields["flags"] |= _FLAGS[word]
    elif word in _OWN:
        fields["own"] = _OWN[word]
    else:
        fields["price"] = int(word)


def told(row: Row) -> str:
    """A row in words."""
    code, reason, order_id, _, _, _, price, size, remaining, maker, _, maker_remaining, _ = row
    if code in {k.FILL, k.DECREMENTED}:
        verb = "takes" if code == k.FILL else "cuts"
        return f"{order_id} {verb} {size} @ {price} from {maker}, {remaining} and {maker_remaining} left"
    word = {
        k.ACCEPTED: "accepted", k.REJECTED: "rejected", k.CANCELLED: "cancelled", k.EXPIRED: "expired",
        k.TRIGGERED: "triggered", k.REPLACED: "replaced", k.REPLACE_REJECTED: "not replaced",
        k.CANCEL_REJECTED: "not cancelled", k.REDUCED: "cut",
    }[code]  # fmt: skip
    lots = f" {size}" if code in {k.CANCELLED, k.EXPIRED, k.REDUCED} else ""
    return f"{order_id} {word}{lots}" + (f": {_REASONS[reason]}" if code != k.EXPIRED and reason else "")


def lines(text: str) -> list[str]:
    """The lines that say something."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def _shown(bids: list[tuple[int, ...]], asks: list[tuple[int, ...]]) -> str:
    """Both sides around the touch: bids worst to best, asks best to worst."""
    sides = (" ".join(f"{size}@{price}" for price, size, _ in levels) for levels in (bids[::-1], asks))
    return " | ".join(sides).strip()


def _listing(script: list[str]) -> tuple[int, list[Command]]:
    last = [int(line.split()[1]) for line in script if line.startswith("last")]
    return (last[0] if last else 0), [command(line) for line in script if not line.startswith("last")]


def played_by_kernel(case: Case) -> tuple[list[str], str]:
    """What the kernel answers, and its book."""
    last, commands = _listing(lines(case.script))
    book, out = k.new_book(CAPACITY, len(OWNERS)), k.new_out(CAPACITY)
    k.set_last(book, last)
    rows = play_kernel(book, commands, np.zeros((len(out) + 100, k.OUT_COLUMNS), dtype=np.int64))
    answers = [told(row) for row in rows if row[k.CODE] != k.ACCEPTED]
    return answers, _shown(kernel_depth(book, k.BUY), kernel_depth(book, k.SELL))


def played_by_twin(case: Case) -> tuple[list[str], str]:
    """What the twin answers, and its book."""
    last, commands = _listing(lines(case.script))
    twin = BookTwin(CAPACITY, len(OWNERS))
    twin.last = last
    rows = [row for order in commands for row in twin.play(order)]
    answers = [told(row) for row in rows if row[k.CODE] != k.ACCEPTED]
    return answers, _shown(list(twin.depth(k.BUY)), list(twin.depth(k.SELL)))
