"""Small exchanges of binary markets for tests: one window, one line per order, prices and shares as a trader says."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from agora.domain.dice import dice_of
from agora.domain.numbers import NS_PER_S
from agora.domain.orders import Side
from agora.exchange.binary import BinaryExchange
from agora.exchange.binary_prices import POINTS, UNIT
from agora.exchange.binary_records import BinaryOrder, BinaryRequest, BinaryType, Outcome
from agora.exchange.binary_rules import BinaryRules, BinaryWindow

MARKET, UP, DOWN = "0xmarket", "111", "222"
START_NS, END_NS = 900 * NS_PER_S, 1_800 * NS_PER_S
RICH = 10**6 * UNIT
TOKENS = {Outcome.UP: UP, Outcome.DOWN: DOWN}


def window(**terms: Any) -> BinaryWindow:
    """A window of 15 minutes that takes orders from the beginning of time."""
    names = {"condition_id": MARKET, "up_token": UP, "down_token": DOWN}
    return BinaryWindow(**{**names, "start_ns": START_NS, "end_ns": END_NS, **terms})


def binaries(*, seed: int = 1, tick_points: int = 100, **rules: Any) -> BinaryExchange:
    """An exchange with one open window, without taker delay and fees unless told."""
    small = {"order_capacity": 512, "account_capacity": 16, "taker_delay_ns": 0, "fee_rate_ppm": 0}
    exchange = BinaryExchange(BinaryRules(**{**small, **rules}), dice_of(seed, "test"))
    exchange.create_window(window(tick_points=tick_points))
    return exchange


def trader(exchange: BinaryExchange, name: str = "trader", *, dollars: int = 1_000_000, sets: int = 0) -> int:
    """A funded account, some of its money split into sets."""
    account = exchange.open_account(name, (dollars + sets) * UNIT)
    if sets:
        exchange.split(account, MARKET, sets * UNIT)
        exchange.advance(exchange.now_ns + exchange.rules.settlement_ns)
    return account


_COUNT = [0]


def order(
    exchange: BinaryExchange, account: int, words: str, kind: BinaryType = BinaryType.GTC, **terms: Any
) -> BinaryOrder:
    """Submit `BUY Up 10 @ 0.48`: a limit order for that many shares, its amounts exact."""
    side_word, token_word, size_word, _, price_word = words.split()
    return submit(exchange, account, request(side_word, token_word, size_word, price_word, order_type=kind, **terms))


def request(side_word: str, token_word: str, size_word: str, price_word: str, **terms: Any) -> BinaryRequest:
    """A limit order of exact amounts with an id of its own."""
    side, size = Side[side_word], int(Decimal(size_word) * UNIT)
    value = int(Decimal(price_word) * size)
    amounts = (value, size) if side is Side.BUY else (size, value)
    return amounts_request(side, TOKENS[Outcome(token_word)], amounts, **terms)


def amounts_request(side: Side, token_id: str, amounts: tuple[int, int], **terms: Any) -> BinaryRequest:
    """An order by its amounts, with an id of its own."""
    _COUNT[0] += 1
    named = {"order_id": f"0x{_COUNT[0]}", **terms}
    return BinaryRequest(token_id=token_id, side=side, maker_amount=amounts[0], taker_amount=amounts[1], **named)


def submit(exchange: BinaryExchange, account: int, asked: BinaryRequest) -> BinaryOrder:
    """Submit and audit."""
    answer = exchange.submit(account, asked)
    exchange.check()
    return answer


def settle(exchange: BinaryExchange, seconds: float = 10) -> None:
    """Let so much time pass, and audit."""
    exchange.step(exchange.now_ns + int(seconds * NS_PER_S))


def dollars(units: int) -> float:
    """Millionths as a trader says them."""
    return units / UNIT


def ladder(exchange: BinaryExchange, outcome: Outcome) -> list[str]:
    """A token's book as lines `bid|ask size @ price`, from the best bid down and the best ask up."""
    book = exchange.book(TOKENS[outcome])
    sides = (("bid", book.bids), ("ask", book.asks))
    return [
        f"{word} {level.size_units / UNIT:g} @ {level.price_points / POINTS:g}"
        for word, levels in sides
        for level in levels
    ]
