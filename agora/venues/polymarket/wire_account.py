"""What the CLOB answers about our orders, trades and balances, as values with one meaning each. No IO.

Numbers are decimals in shares and collateral. Words for states are kept as they come: new ones appear.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Generic, NamedTuple, TypeVar

import msgspec

from agora.domain.orders import Side
from agora.exchange.binary_prices import UNIT
from agora.venues.polymarket.amounts import Amounts
from agora.venues.polymarket.signing import ApiCredentials
from agora.venues.polymarket.wire_values import (
    allowance_of,
    name_of,
    name_or_empty,
    odds_of,
    seconds_of,
    side_of,
    side_or_none,
    token_of,
    units_of,
    words_of,
)
from agora.venues.wire_rows import Fields, fields_of, list_of
from agora.venues.wire_values import Malformed, decimal_of, flag_of, shortened, size_of, whole_of

# Pages have a hundred rows, batches fifteen, cancels up to 3,000, a large match some dozens of makers.
ROWS_MAX = 10_000
CURSOR_START, CURSOR_END = "MA==", "LTE="
CURSOR_CHARACTERS_MAX = 2_000

Row = TypeVar("Row")


class Page(NamedTuple, Generic[Row]):
    """A part of a list. The next is asked for with `next_cursor` until there is none."""

    rows: tuple[Row, ...]
    next_cursor: str

    @property
    def is_last(self) -> bool:
        """Whether there is no more."""
        return self.next_cursor in {CURSOR_END, ""}


class PlaceAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one order. `making` and `taking` are as written: `settled_of` says in which unit."""

    is_success: bool
    error: str
    order_id: str
    status: str
    making: Decimal
    taking: Decimal
    trade_ids: tuple[str, ...]
    transaction_hashes: tuple[str, ...]

    @property
    def is_taken(self) -> bool:
        """Whether the venue has the order: success without an id is a refusal, as legs of a batch show."""
        return self.is_success and self.order_id != ""


class CancelAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Which orders were cancelled, and why others were not."""

    cancelled: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]


class OrderRow(msgspec.Struct, frozen=True, kw_only=True):
    """An order. `status` is the venue's word, or its whole sentence; `size_matched` is cumulative."""

    order_id: str
    market: str
    asset_id: str
    side: Side
    price: Decimal
    original_size: Decimal
    size_matched: Decimal
    outcome: str
    order_type: str
    status: str
    owner: str
    maker_address: str
    trade_ids: tuple[str, ...]
    created_s: int
    expiration_s: int


class MakerLeg(msgspec.Struct, frozen=True, kw_only=True):
    """A maker's part of a trade, of this token or of the other one. `side` None: an older message, see `fills`."""

    order_id: str
    owner: str
    asset_id: str
    side: Side | None
    price: Decimal
    matched: Decimal
    outcome: str


class TradeRow(msgspec.Struct, frozen=True, kw_only=True):
    """A trade. Token, side, price and size are the taker's; makers stand in `makers`. `status` has no prefix."""

    trade_id: str
    taker_order_id: str
    market: str
    asset_id: str
    side: Side
    price: Decimal
    size: Decimal
    status: str
    outcome: str
    owner: str
    trader_side: str
    matched_s: int
    updated_s: int
    bucket: int
    transaction_hash: str
    makers: tuple[MakerLeg, ...]


class BalanceRow(msgspec.Struct, frozen=True, kw_only=True):
    """What an account has of one asset, in millionths, and what each contract may move of it."""

    balance_units: int
    allowances: tuple[tuple[str, int], ...]


def page_of(data: object, read: Callable[[Fields], Row]) -> Page[Row]:
    """A page of rows; raises `Malformed` without a cursor, since then nobody knows whether more would follow."""
    row = fields_of(data)
    cursor = row.get("next_cursor")
    if not isinstance(cursor, str) or len(cursor) > CURSOR_CHARACTERS_MAX or not cursor.isprintable():
        raise Malformed(f"a page has no cursor: {shortened(cursor)}")
    rows = list_of(row.get("data"), most=ROWS_MAX)
    return Page(tuple(read(fields_of(each)) for each in rows), cursor)


def _names(rows: object, what: str) -> tuple[str, ...]:
    return () if rows is None else tuple(name_of(each, what) for each in list_of(rows, most=ROWS_MAX))


def place_answer(row: Fields) -> PlaceAnswer:
    """What became of one order."""
    if not isinstance(row.get("success"), bool):
        raise Malformed(f"an answer to an order says neither yes nor no: {shortened(row.get('success'))}")
    return PlaceAnswer(
        is_success=flag_of(row["success"]),
        error=words_of(row.get("errorMsg"), "errorMsg"),
        order_id=name_or_empty(row.get("orderID"), "orderID"),
        status=words_of(row.get("status"), "status"),
        making=size_of(row.get("makingAmount"), "makingAmount"),
        taking=size_of(row.get("takingAmount"), "takingAmount"),
        trade_ids=_names(row.get("tradeIDs"), "tradeIDs"),
        transaction_hashes=_names(row.get("transactionsHashes"), "transactionsHashes"),
    )


def place_answers(data: object, *, sent: int) -> tuple[PlaceAnswer, ...]:
    """What became of each order of a batch, in its order; raises `Malformed` unless there are as many as were sent."""
    rows = list_of(data, most=ROWS_MAX)
    if len(rows) != sent:
        raise Malformed(f"{sent} orders were sent, {len(rows)} answered")
    return tuple(place_answer(fields_of(row)) for row in rows)


def settled_of(answer: PlaceAnswer, asked: Amounts) -> Amounts:
    """What was given and taken at once, in millionths; raises `Malformed` when it exceeds what the order gives.

    Production writes decimals, the documentation millionths: what is more than the order gives as the one is the other.
    """
    for scale in (UNIT, 1):
        made, taken = answer.making * scale, answer.taking * scale
        if made <= asked.maker_units and made == int(made) and taken == int(taken):
            return Amounts(int(made), int(taken))
    raise Malformed(f"an order that gives {asked.maker_units} millionths was answered with {answer.making:f}")


def cancel_answer(row: Fields) -> CancelAnswer:
    """What was cancelled, and what was not."""
    refused = fields_of(row.get("not_canceled") or {})
    return CancelAnswer(
        cancelled=_names(row.get("canceled"), "canceled"),
        refused=tuple((name_of(key, "not_canceled"), words_of(why, "reason")) for key, why in refused.items()),
    )


def order_row(row: Fields) -> OrderRow:
    """An order of REST or of the socket; the socket leaves numbers empty for one that was killed at once."""
    return OrderRow(
        order_id=name_of(row.get("id"), "id"),
        market=name_of(row.get("market"), "market"),
        asset_id=token_of(row.get("asset_id")),
        side=side_of(row.get("side")),
        price=odds_of(row.get("price")),
        original_size=size_of(row.get("original_size"), "original_size"),
        size_matched=size_of(row.get("size_matched"), "size_matched"),
        outcome=words_of(row.get("outcome"), "outcome"),
        order_type=words_of(row.get("order_type"), "order_type"),
        status=words_of(row.get("status"), "status"),
        owner=name_or_empty(row.get("owner"), "owner"),
        maker_address=name_or_empty(row.get("maker_address"), "maker_address"),
        trade_ids=_names(row.get("associate_trades"), "associate_trades"),
        created_s=seconds_of(row.get("created_at"), "created_at"),
        expiration_s=seconds_of(row.get("expiration"), "expiration"),
    )


def is_cancelled(status: str) -> bool:
    """Whether a status means that the venue has taken an order away; its words for it only begin alike."""
    return status.startswith("CANCELED") or status == "INVALID"


def trade_row(row: Fields) -> TradeRow:
    """A trade of REST or of the socket; REST may write its status with a prefix."""
    makers = row.get("maker_orders")
    return TradeRow(
        trade_id=name_of(row.get("id"), "id"),
        taker_order_id=name_of(row.get("taker_order_id"), "taker_order_id"),
        market=name_of(row.get("market"), "market"),
        asset_id=token_of(row.get("asset_id")),
        side=side_of(row.get("side")),
        price=odds_of(row.get("price")),
        size=size_of(row.get("size")),
        status=words_of(row.get("status"), "status").removeprefix("TRADE_STATUS_"),
        outcome=words_of(row.get("outcome"), "outcome"),
        owner=name_or_empty(row.get("owner"), "owner"),
        trader_side=words_of(row.get("trader_side"), "trader_side"),
        matched_s=seconds_of(row.get("match_time"), "match_time"),
        updated_s=seconds_of(row.get("last_update"), "last_update"),
        bucket=whole_of(row.get("bucket_index") or 0, "bucket_index", most=10**6),
        transaction_hash=name_or_empty(row.get("transaction_hash"), "transaction_hash"),
        makers=() if makers is None else tuple(_maker(fields_of(each)) for each in list_of(makers, most=ROWS_MAX)),
    )


def _maker(row: Fields) -> MakerLeg:
    return MakerLeg(
        order_id=name_of(row.get("order_id"), "order_id"),
        owner=name_or_empty(row.get("owner"), "owner"),
        asset_id=token_of(row.get("asset_id")),
        side=side_or_none(row.get("side")),
        price=odds_of(row.get("price")),
        matched=size_of(row.get("matched_amount"), "matched_amount"),
        outcome=words_of(row.get("outcome"), "outcome"),
    )


def balance_row(row: Fields) -> BalanceRow:
    """A balance; older answers have one allowance instead of one for each contract."""
    allowances = row.get("allowances")
    found = {"": row["allowance"]} if allowances is None and "allowance" in row else fields_of(allowances or {})
    return BalanceRow(
        balance_units=units_of(row.get("balance"), "balance"),
        allowances=tuple(
            (words_of(spender, "spender"), allowance_of(each, "allowance")) for spender, each in found.items()
        ),
    )


def heartbeat_of(row: Fields) -> str:
    """The id that the next heartbeat has to echo; it can be empty."""
    if "heartbeat_id" not in row:
        raise Malformed("the answer to a heartbeat has no id")
    return words_of(row["heartbeat_id"], "heartbeat_id")


def api_credentials(row: Fields, address: str) -> ApiCredentials:
    """The credentials made for a signer; raises `Malformed` without showing what came."""
    found = {key: row.get(key) for key in ("apiKey", "secret", "passphrase")}
    if not all(isinstance(each, str) and 0 < len(each) <= 200 for each in found.values()):
        raise Malformed("credentials are three texts")
    return ApiCredentials(
        address=address,
        api_key=str(found["apiKey"]),
        secret=str(found["secret"]),
        passphrase=str(found["passphrase"]),
    )


def api_keys(row: Fields) -> tuple[str, ...]:
    """The keys that a signer has."""
    return _names(row.get("apiKeys"), "apiKeys")


def is_closed_only(row: Fields) -> bool:
    """Whether the account may only reduce; raises `Malformed` where the answer does not say."""
    if not isinstance(row.get("closed_only"), bool):
        raise Malformed("closed_only is yes or no")
    return flag_of(row["closed_only"])


def base_fee_bps(row: Fields, key: str = "base_fee") -> Decimal:
    """A fee in the old unit; it is not what is charged."""
    return decimal_of(row.get(key), key)
