"""Reads what a language model answered: strictly one JSON object of one form, brought within what can be done.

No keyword decides anything, and nothing here knows which model spoke. Work is bounded by the length cap.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from agora.domain.decisions import USABLE, AnswerOutcome
from agora.domain.instruments import Instrument
from agora.domain.numbers import PPM, Rounding
from agora.domain.orders import OrderType, Side, TimeInForce
from agora.exchange.requests import AgentView, CancelRequest, OpenOrder, OrderRequest, Request
from agora.traders.purse import Purse
from agora.traders.scene import REQUESTS_MAX
from agora.traders.words import plain_words

# A full answer (8 orders and a note) takes 2,000 characters; what stands beyond 32 times that is not read.
ANSWER_CHARS_MAX = 65_536
# The form is an object in a list in an object; the rest is room to be told what is wrong with a deeper one.
DEPTH_MAX = 8
ORDERS_MAX = 8
# Wide enough for any order meant to trade within minutes, narrow enough that a slipped digit costs a tenth.
PRICE_BAND_PPM = 100_000
# Ten to the power of 18 is beyond every price and size an exchange takes, and int() of it is cheap.
EXPONENT_MAX = 18

SYMBOL_CHARS_MAX = 32
NOTE_CHARS_MAX = 500


class WantedOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One order as a model writes it; numbers are JSON numbers or decimal text. A limit order needs a price."""

    symbol: Annotated[str, Meta(min_length=1, max_length=SYMBOL_CHARS_MAX)]
    side: Literal["buy", "sell"]
    size: Decimal
    type: Literal["limit", "market"] = "limit"
    price: Decimal | None = None


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole answer: orders and withdrawals (either may be empty, not both absent), or a refusal."""

    orders: Annotated[tuple[WantedOrder, ...], Meta(max_length=ORDERS_MAX)] | None = None
    cancel: Annotated[tuple[Annotated[int, Meta(ge=1, le=2**62)], ...], Meta(max_length=ORDERS_MAX)] | None = None
    note: Annotated[str, Meta(max_length=NOTE_CHARS_MAX)] = ""
    refusal: Annotated[str, Meta(min_length=1, max_length=NOTE_CHARS_MAX)] | None = None


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer comes to. `requests` is to be done when `is_usable`; else the twin decides. `detail` says why."""

    outcome: AnswerOutcome
    requests: tuple[Request, ...] = ()
    note: str = ""
    detail: str = ""

    @property
    def is_usable(self) -> bool:
        """Whether the model decided, be it to do nothing."""
        return self.outcome in USABLE


class Found(msgspec.Struct, frozen=True):
    """An object found in a text: its members as decoded, where it ends, and how much text was looked at in all."""

    members: dict[str, Any] | None
    is_alone: bool
    chars_looked_at: int


@functools.cache
def answer_schema_name() -> str:
    """The name and a digest of the answer's form: part of the key under which answers are kept."""
    form = msgspec.json.encode(_without_words(msgspec.json.schema(Answer)), order="deterministic")
    return f"answer.v1:{hashlib.sha256(form).hexdigest()[:16]}"


def _without_words(form: Any) -> Any:
    """The form without its explanations: a better docstring does not make kept answers unreadable."""
    if isinstance(form, dict):
        return {name: _without_words(part) for name, part in form.items() if name != "description"}
    return [_without_words(part) for part in form] if isinstance(form, list) else form


def read_answer(text: str, view: AgentView) -> Decided:
    """What the model wants, brought within ticks, lots, the price band and the agent's funds.

    A reply without any opening brace is `refused`: the model talks and will not decide. A reply with one that holds
    no object of the form, or none at all, is `schema_error`. Wishes of which none is possible are `fallback`.
    """
    if "{" not in text[:ANSWER_CHARS_MAX]:
        if text[:ANSWER_CHARS_MAX].strip():
            return Decided(outcome=AnswerOutcome.REFUSED, detail="prose without an object")
        return Decided(outcome=AnswerOutcome.SCHEMA_ERROR, detail="an empty reply")
    found = find_object(text)
    if found.members is None:
        return Decided(outcome=AnswerOutcome.SCHEMA_ERROR, detail="no JSON object could be read")
    try:
        answer = msgspec.convert(found.members, Answer, strict=True)
        return _decided(answer, view, is_alone=found.is_alone)
    except ValueError as fault:  # a ValidationError is one
        return Decided(outcome=AnswerOutcome.SCHEMA_ERROR, detail=plain_words(str(fault), NOTE_CHARS_MAX))


# Finding.

# A brace of an object is followed by a member's name or by its end; others stand in prose.
_OPENING = re.compile(r'\{\s*["}]')
_MARKS = re.compile(r'[{}\[\]"\\]')


def find_object(text: str) -> Found:
    """The first JSON object within the first `ANSWER_CHARS_MAX` characters, if it is balanced and decodes.

    One pass over the capped text. Where the first object is cut off, too deep or otherwise no JSON, none is found:
    a part of it, or what follows it, is not what the model answered.
    """
    capped = text[:ANSWER_CHARS_MAX]
    opening = _OPENING.search(capped)
    if opening is None:
        return Found(None, is_alone=False, chars_looked_at=len(capped))
    start = opening.start()
    end, seen_to = _end_of_object(capped, start)
    members = _decode(capped[start:end]) if end else None
    is_alone = not (capped[:start].strip() or capped[end:].strip() or len(text) > ANSWER_CHARS_MAX)
    return Found(members, is_alone, seen_to)


def _end_of_object(text: str, start: int) -> tuple[int, int]:
    """Where the object that opens at `start` ends (0: never, or too deep), and how far the search went."""
    depth, position, is_in_string = 0, start, False
    while mark := _MARKS.search(text, position):
        position = mark.end()
        sign = mark.group()
        if sign == "\\":
            position += is_in_string  # within a string it takes the next character with it
        elif sign == '"':
            is_in_string = not is_in_string
        elif not is_in_string:
            depth += 1 if sign in "{[" else -1
        if depth == 0:
            return position, position
        if depth > DEPTH_MAX:
            return 0, position
    return 0, len(text)


def _decode(text: str) -> dict[str, Any] | None:
    try:
        members = json.loads(
            text, parse_float=_decimal, parse_constant=_refuse_constant, object_pairs_hook=_unique_members
        )
    except ValueError:
        return None
    assert isinstance(members, dict), "what begins with a brace decodes to an object"
    return members


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except ArithmeticError:  # an exponent beyond what a Decimal can hold
        raise ValueError(f"not a number: {text[:40]}") from None


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is not a number")


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands twice")
    return members


# Deciding.


def _decided(answer: Answer, view: AgentView, *, is_alone: bool) -> Decided:
    note = plain_words(answer.note, NOTE_CHARS_MAX)
    if answer.refusal is not None:
        refusal = plain_words(answer.refusal, NOTE_CHARS_MAX)
        return Decided(outcome=AnswerOutcome.REFUSED, note=note, detail=refusal)
    if answer.orders is None and answer.cancel is None:
        raise ValueError("neither orders nor cancel nor a refusal")
    orders, cancel = answer.orders or (), answer.cancel or ()
    _check_orders(orders, view)
    plan = _Plan(view)
    for order_id in cancel:
        plan.withdraw(order_id)
    for order in orders:
        plan.add(order)
    repairs = list(plan.repairs) if is_alone else ["text around the object", *plan.repairs]
    if (orders or cancel) and not plan.requests:
        return Decided(outcome=AnswerOutcome.FALLBACK, note=note, detail="; ".join(repairs)[:NOTE_CHARS_MAX])
    return Decided(
        outcome=AnswerOutcome.REPAIRED if repairs else AnswerOutcome.OK,
        requests=tuple(plan.requests),
        note=note,
        detail="; ".join(repairs)[:NOTE_CHARS_MAX],
    )


def _check_orders(orders: Sequence[WantedOrder], view: AgentView) -> None:
    """Raise `ValueError` for what no repair can give a meaning."""
    for order in orders:
        if order.symbol not in view.symbols:
            raise ValueError(f"unknown symbol {order.symbol!r}")
        _check_amount(order.size)
        if order.price is not None:
            _check_amount(order.price)
        elif order.type == "limit":
            raise ValueError("a limit order without a price")


def _check_amount(number: Decimal) -> None:
    """Raise `ValueError` for anything but a number above zero of a size that can be meant."""
    if not number.is_finite() or number <= 0 or abs(number.adjusted()) > EXPONENT_MAX:
        raise ValueError(f"not an amount: {str(number)[:40]}")


class _Plan:
    """The requests of one answer as they grow, with what is left to pay for them and what had to be repaired."""

    def __init__(self, view: AgentView) -> None:
        self._view = view
        self._purse = Purse(view)
        self._own: dict[int, OpenOrder] = {
            order.order_id: order for symbol in view.symbols for order in view.open_orders(symbol)
        }
        self.requests: list[Request] = []
        self.repairs: list[str] = []

    def withdraw(self, order_id: int) -> None:
        """Cancel an own order; one that is no longer there is left out."""
        order = self._own.pop(order_id, None)
        if order is None:
            self.repairs.append(f"no own order {order_id}")
            return
        self._purse.release(self._view.instrument(order.symbol), order)
        self.requests.append(CancelRequest(symbol=order.symbol, order_id=order_id))

    def add(self, wanted: WantedOrder) -> None:
        """Add an order, cut to lots and funds; one of which nothing is left is left out."""
        if len(self.requests) >= REQUESTS_MAX:
            self.repairs.append(f"more than {REQUESTS_MAX} requests")
            return
        instrument = self._view.instrument(wanted.symbol)
        side = Side.BUY if wanted.side == "buy" else Side.SELL
        price_ticks = self._price_ticks(wanted, instrument, side)
        if side is Side.BUY:
            possible = self._purse.buyable_lots(instrument, price_ticks)
        else:
            possible = self._purse.sellable_lots(instrument, price_ticks, shorts=True)
        size_lots = self._size_lots(wanted, instrument, possible)
        if size_lots < instrument.lots_min:
            self.repairs.append(f"{wanted.side} {wanted.symbol}: nothing of it is possible")
            return
        order = OrderRequest(
            symbol=wanted.symbol,
            side=side,
            size_lots=size_lots,
            type=OrderType.LIMIT,
            time_in_force=TimeInForce.GTC if wanted.type == "limit" else TimeInForce.IOC,
            price_ticks=price_ticks,
        )
        self._purse.spend(instrument, order)
        self.requests.append(order)

    def _price_ticks(self, wanted: WantedOrder, instrument: Instrument, side: Side) -> int:
        """The limit, rounded to the passive side and within the band around the last price.

        A market order becomes one that lapses at the band's edge, so that its cost has a bound; a price given with
        it bounds it as a limit does.
        """
        last_ticks = max(1, self._view.last_ticks(wanted.symbol))
        reach_ticks = max(1, last_ticks * PRICE_BAND_PPM // PPM)
        low_ticks, high_ticks = max(1, last_ticks - reach_ticks), last_ticks + reach_ticks
        if wanted.price is None:
            return high_ticks if side is Side.BUY else low_ticks
        passive = Rounding.DOWN if side is Side.BUY else Rounding.UP
        price = wanted.price
        wanted_ticks = instrument.price_ticks(price, passive)
        price_ticks = min(max(wanted_ticks, low_ticks), high_ticks)
        if price_ticks * instrument.tick != price:
            self.repairs.append(f"{wanted.symbol}: price {price:.12g} to {instrument.price_text(price_ticks)}")
        return price_ticks

    def _size_lots(self, wanted: WantedOrder, instrument: Instrument, possible_lots: int) -> int:
        size_lots = min(instrument.size_lots(wanted.size, Rounding.DOWN), possible_lots)
        if size_lots * instrument.lot != wanted.size:
            self.repairs.append(f"{wanted.symbol}: size {wanted.size:.12g} to {instrument.size_text(size_lots)}")
        return size_lots
