"""What the CLOB answers about books and markets, as values with one meaning each. No IO."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

import msgspec

from agora.venues.polymarket.book_hash import HashedBook, LevelText
from agora.venues.polymarket.wire_values import (
    name_of,
    name_or_empty,
    odds_of,
    odds_or_none,
    share_of,
    token_of,
    words_of,
)
from agora.venues.wire_rows import Fields, fields_of, list_of
from agora.venues.wire_values import Malformed, Number, flag_of, iso_ns, size_of, time_ms, whole_of

# The finest tick is 0.0001: no side has more prices.
LEVELS_MAX = 10_000
# Markets of this kind have two.
OUTCOMES_MAX = 256


class Level(NamedTuple):
    """A price and what is offered there."""

    price: Decimal
    size: Decimal


class BookRow(msgspec.Struct, frozen=True, kw_only=True):
    """A whole book, best levels first whatever the order on the wire. None: the message does not say."""

    market: str
    asset_id: str
    ts_ms: int
    hash: str
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    min_order_size: Decimal | None
    tick_size: Decimal | None
    is_neg_risk: bool | None
    last_trade_price: Decimal | None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One of the answers to a market's question, and the token that pays if it is the right one."""

    label: str
    token_id: str
    price: Decimal | None = None
    is_winner: bool = False


class FeeSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """A market's fee as the venue states it; `amounts.fee_of` makes a formula of it."""

    rate: Decimal
    exponent: Decimal
    is_taker_only: bool
    rebate_rate: Decimal = Decimal(0)


class ClobMarketRow(msgspec.Struct, frozen=True, kw_only=True):
    """A market in the compact form. `fee` None: nothing is said, which is not the same as no fee."""

    outcomes: tuple[Outcome, ...]
    tick_size: Decimal
    min_order_size: Decimal
    is_neg_risk: bool
    fee: FeeSchedule | None
    has_taker_delay: bool
    min_order_age_s: int


class LegacyMarketRow(msgspec.Struct, frozen=True, kw_only=True):
    """A market in the long form; of one whose tokens are not yet made, `outcomes` is empty."""

    condition_id: str
    slug: str
    outcomes: tuple[Outcome, ...]
    tick_size: Decimal | None
    min_order_size: Decimal
    is_neg_risk: bool
    is_active: bool
    is_closed: bool
    is_accepting_orders: bool
    has_order_book: bool
    end_ns: int
    rewards_size_min: Decimal
    rewards_spread_max: Decimal

    @property
    def winner(self) -> Outcome | None:
        """The outcome that pays, once the venue says so."""
        return next((outcome for outcome in self.outcomes if outcome.is_winner), None)


def book_row(row: Fields) -> BookRow:
    """A book of REST or of the socket; the socket leaves some fields out, and a fresh market has no last trade."""
    has_neg_risk = row.get("neg_risk") is not None
    return BookRow(
        market=name_of(row.get("market"), "market"),
        asset_id=token_of(row.get("asset_id")),
        ts_ms=time_ms(row.get("timestamp"), "timestamp"),
        hash=name_or_empty(row.get("hash"), "hash"),
        bids=tuple(reversed(_levels(row.get("bids")))),
        asks=_levels(row.get("asks")),
        min_order_size=_size_or_none(row.get("min_order_size"), "min_order_size"),
        tick_size=odds_or_none(row.get("tick_size"), "tick_size"),
        is_neg_risk=flag_of(row.get("neg_risk")) if has_neg_risk else None,
        last_trade_price=odds_or_none(row.get("last_trade_price"), "last_trade_price"),
    )


def _size_or_none(value: Number, what: str) -> Decimal | None:
    return None if value is None or value == "" else size_of(value, what)


def _levels(rows: object) -> tuple[Level, ...]:
    """By rising price, without empty ones; a price that stands twice is none."""
    levels = [Level(odds_of(row.get("price")), size_of(row.get("size"))) for row in _rows(rows)]
    levels.sort()
    if any(lower.price == upper.price for lower, upper in pairwise(levels)):
        raise Malformed("a price stands twice on one side of a book")
    return tuple(level for level in levels if level.size)


def _rows(rows: object) -> list[Fields]:
    return [] if rows is None else [fields_of(row) for row in list_of(rows, most=LEVELS_MAX)]


def hashed_book(row: Fields) -> HashedBook:
    """A book as REST has it, as it is hashed: the very texts, in the order in which they came."""
    return HashedBook(
        market=name_of(row.get("market"), "market"),
        asset_id=token_of(row.get("asset_id")),
        timestamp=words_of(row.get("timestamp"), "timestamp"),
        bids=_level_texts(row.get("bids")),
        asks=_level_texts(row.get("asks")),
        min_order_size=words_of(row.get("min_order_size"), "min_order_size"),
        tick_size=words_of(row.get("tick_size"), "tick_size"),
        neg_risk=flag_of(row.get("neg_risk")),
        last_trade_price=words_of(row.get("last_trade_price"), "last_trade_price"),
    )


def _level_texts(rows: object) -> tuple[LevelText, ...]:
    return tuple((words_of(row.get("price"), "price"), words_of(row.get("size"), "size")) for row in _rows(rows))


def outcomes_of(labels: list[str], tokens: list[str]) -> tuple[Outcome, ...]:
    """Labels and tokens that belong together by their places; raises `Malformed` when they cannot."""
    if len(labels) != len(tokens) or len(set(labels)) != len(labels) or len(set(tokens)) != len(tokens):
        raise Malformed(f"{len(labels)} outcomes and {len(tokens)} tokens do not belong together")
    return tuple(Outcome(label=label, token_id=token_of(token)) for label, token in zip(labels, tokens, strict=True))


def clob_market_row(row: Fields) -> ClobMarketRow:
    """A market in the compact form; `nr` is left out where it is false."""
    tokens = [fields_of(token) for token in list_of(row.get("t"), most=OUTCOMES_MAX)]
    fee = row.get("fd")
    return ClobMarketRow(
        outcomes=outcomes_of(
            [words_of(token.get("o"), "o") for token in tokens], [token_of(token.get("t"), "t") for token in tokens]
        ),
        tick_size=odds_of(row.get("mts"), "mts"),
        min_order_size=size_of(row.get("mos"), "mos"),
        is_neg_risk=flag_of(row.get("nr")),
        fee=None if fee is None else _compact_fee(fields_of(fee)),
        has_taker_delay=flag_of(row.get("itode")),
        min_order_age_s=whole_of(row.get("oas") or 0, "oas", most=86_400),
    )


def _compact_fee(row: Fields) -> FeeSchedule:
    return FeeSchedule(
        rate=share_of(row.get("r"), "r"), exponent=size_of(row.get("e"), "e"), is_taker_only=flag_of(row.get("to"))
    )


def legacy_market_row(row: Fields) -> LegacyMarketRow:
    """A market in the long form."""
    tokens = [fields_of(token) for token in list_of(row.get("tokens") or [], most=OUTCOMES_MAX)]
    is_made = all(token.get("token_id") for token in tokens)
    rewards = fields_of(row.get("rewards") or {})
    return LegacyMarketRow(
        condition_id=name_of(row.get("condition_id"), "condition_id"),
        slug=words_of(row.get("market_slug"), "market_slug"),
        outcomes=tuple(_outcome(token) for token in tokens) if is_made else (),
        tick_size=odds_or_none(row.get("minimum_tick_size"), "minimum_tick_size"),
        min_order_size=size_of(row.get("minimum_order_size"), "minimum_order_size"),
        is_neg_risk=flag_of(row.get("neg_risk")),
        is_active=flag_of(row.get("active")),
        is_closed=flag_of(row.get("closed")),
        is_accepting_orders=flag_of(row.get("accepting_orders")),
        has_order_book=flag_of(row.get("enable_order_book")),
        end_ns=iso_ns(row.get("end_date_iso"), "end_date_iso"),
        rewards_size_min=size_of(rewards.get("min_size"), "min_size"),
        rewards_spread_max=size_of(rewards.get("max_spread"), "max_spread"),
    )


def _outcome(row: Fields) -> Outcome:
    price = row.get("price")
    return Outcome(
        label=words_of(row.get("outcome"), "outcome"),
        token_id=token_of(row.get("token_id"), "token_id"),
        price=None if price is None or price == "" else share_of(price, "price"),
        is_winner=flag_of(row.get("winner")),
    )


# Answers of one value.


def server_time_s(data: object) -> int:
    """The venue's clock."""
    if not isinstance(data, int):
        raise Malformed("the venue's time is a whole number")
    return whole_of(data, "time", least=1, most=10**11)


def version_of(row: Fields) -> int:
    """Which version of orders the venue takes."""
    return whole_of(row.get("version"), "version", least=1, most=1_000)


def tick_size_of(row: Fields) -> Decimal:
    """A token's tick."""
    return odds_of(row.get("minimum_tick_size"), "minimum_tick_size")


def neg_risk_of(row: Fields) -> bool:
    """Whether a token's market has several outcomes; raises `Malformed` where the answer does not say."""
    if not isinstance(row.get("neg_risk"), bool):
        raise Malformed("neg_risk is yes or no")
    return flag_of(row["neg_risk"])


def price_answer(row: Fields, key: str = "price") -> Decimal | None:
    """A price (`price`), a midpoint (`mid`) or a spread (`spread`); None where there is none."""
    return odds_or_none(row.get(key), key)


def prices_by_token(row: Fields) -> dict[str, Decimal | None]:
    """Midpoints or spreads of several tokens."""
    return {token_of(token): odds_or_none(price, "price") for token, price in row.items()}


def sides_by_token(row: Fields) -> dict[str, tuple[Decimal | None, Decimal | None]]:
    """Best bid and ask of several tokens: BUY is the bid, SELL the ask."""
    found = {token_of(token): fields_of(prices) for token, prices in row.items()}
    return {token: (price_answer(prices, "BUY"), price_answer(prices, "SELL")) for token, prices in found.items()}


def condition_of(row: Fields) -> str:
    """The market that a token belongs to."""
    return name_of(row.get("condition_id"), "condition_id")
