"""Whether an order is taken: the mode, the market, its form, its size, its expiration. Reads only; knows no money."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from agora.domain.numbers import NS_PER_S
from agora.domain.orders import Side
from agora.exchange.binary_prices import SIZE_STEP_UNITS, complement, exact_price, implied_price, legs_of
from agora.exchange.binary_reasons import BinaryReason
from agora.exchange.binary_records import BinaryRequest, BinaryType, EngineMode, MarketState, Outcome
from agora.exchange.binary_rules import BinaryRules, BuyBudget
from agora.exchange.binary_state import BinaryMarket, BinaryState
from agora.kernels import matching

_MODE_REASONS: Mapping[EngineMode, BinaryReason] = MappingProxyType(
    {
        EngineMode.RESTARTING: BinaryReason.ENGINE_RESTARTING,
        EngineMode.CANCEL_ONLY: BinaryReason.CANCEL_ONLY,
        EngineMode.DISABLED: BinaryReason.TRADING_DISABLED,
    }
)
# A second of the year 2242: beyond it the nanoseconds leave 63 bits.
_SECONDS_MAX = 2**33


class Terms(NamedTuple):
    """What a request comes to: its price, the shares it names, and its budget where dollars bound it."""

    price_points: int
    size_units: int
    budget_units: int | None


def mode_refusal(mode: EngineMode, *, is_post_only: bool) -> BinaryReason:
    """Whether the exchange takes such an order at present."""
    if mode is EngineMode.POST_ONLY and not is_post_only:
        return BinaryReason.POST_ONLY_MODE
    return _MODE_REASONS.get(mode, BinaryReason.NONE)


def cancel_refusal(mode: EngineMode) -> BinaryReason:
    """Whether the exchange takes cancels at present."""
    if mode in {EngineMode.RESTARTING, EngineMode.DISABLED}:
        return _MODE_REASONS[mode]
    return BinaryReason.NONE


def market_refusal(market: BinaryMarket) -> BinaryReason:
    """Whether a market takes orders."""
    if market.state is MarketState.OPEN:
        return BinaryReason.NONE
    is_early = market.state is MarketState.CREATED
    return BinaryReason.MARKET_NOT_READY if is_early else BinaryReason.MARKET_CLOSED


def form_refusal(request: BinaryRequest) -> BinaryReason:
    """What is wrong with a request whatever the market is."""
    amounts = (request.maker_amount, request.taker_amount)
    if not request.order_id or any(type(amount) is not int or amount <= 0 for amount in amounts):
        return BinaryReason.BAD_PAYLOAD
    # The book's largest size is a million shares; nothing but such an order is turned away by it.
    if max(amounts) > matching.NUMBER_MAX:
        return BinaryReason.BAD_PAYLOAD
    if request.is_post_only and request.order_type.is_immediate:
        return BinaryReason.POST_ONLY_TYPE
    return BinaryReason.NONE


def terms_of(market: BinaryMarket, request: BinaryRequest, rules: BinaryRules) -> Terms | BinaryReason:
    """Read price and size from the amounts, on the market's tick and not below its minimum."""
    side, is_immediate = request.side, request.order_type.is_immediate
    legs = legs_of(side, request.maker_amount, request.taker_amount)
    price = implied_price(side, legs, market.tick_points) if is_immediate else exact_price(legs, market.tick_points)
    if price is None or not market.tick_points <= price <= complement(market.tick_points):
        return BinaryReason.OFF_TICK
    if legs.share_units % SIZE_STEP_UNITS and not is_immediate:
        return BinaryReason.BAD_PAYLOAD
    is_bound = rules.minimum_binds_immediate or not is_immediate
    if is_bound and legs.share_units < market.window.size_min_units:
        return BinaryReason.BELOW_MINIMUM
    flag = rules.immediate_buy_budget if is_immediate else rules.resting_buy_budget
    is_dollars = side is Side.BUY and flag is BuyBudget.MAKER_AMOUNT
    return Terms(price, legs.share_units, legs.collateral_units if is_dollars else None)


def expiration_refusal(state: BinaryState, request: BinaryRequest) -> BinaryReason:
    """A GTD order needs an expiration far enough ahead, all others none."""
    expiration = request.expiration_s
    if request.order_type is not BinaryType.GTD:
        return BinaryReason.BAD_EXPIRATION if expiration else BinaryReason.NONE
    is_ahead = expiration * NS_PER_S >= state.now_ns + state.rules.expiration_ahead_ns
    return BinaryReason.NONE if is_ahead and expiration < _SECONDS_MAX else BinaryReason.BAD_EXPIRATION


def crossing_refusal(market: BinaryMarket, request: BinaryRequest, *, outcome: Outcome, terms: Terms) -> BinaryReason:
    """What is wrong with an order as it meets the book of this moment, but for whether all of it can be filled."""
    is_up = outcome is Outcome.UP
    side = request.side if is_up else Side(-request.side)
    crosses = market.crosses(side, terms.price_points if is_up else complement(terms.price_points))
    if request.is_post_only and crosses:
        return BinaryReason.POST_ONLY_CROSSES
    if not crosses and request.order_type.is_immediate:
        is_fok = request.order_type is BinaryType.FOK
        return BinaryReason.FOK_NOT_FILLED if is_fok else BinaryReason.FAK_NO_MATCH
    return BinaryReason.NONE
