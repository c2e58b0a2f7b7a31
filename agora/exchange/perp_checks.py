"""Whether a request is taken: its form, the price band, reduce-only, the position ladder and the money. Reads only."""

from __future__ import annotations

from typing import NamedTuple

from agora.domain.numbers import PPM
from agora.domain.orders import Side
from agora.exchange.perp_accounts import PerpAccount, Slot
from agora.exchange.perp_margin import Claim, claims_in, opening_refusal
from agora.exchange.perp_reasons import PerpReason
from agora.exchange.perp_records import (
    Effect,
    PerpRequest,
    PerpType,
    PositionMode,
    PositionSide,
    TradeSide,
    TradingMode,
    TriggerBy,
    TriggerLeg,
)
from agora.exchange.perp_state import Market, PerpState
from agora.kernels import matching

_NUMBER_MAX = matching.NUMBER_MAX


class Action(NamedTuple):
    """What a request really does: buys or sells, for which position, and whether it only reduces."""

    side: Side
    slot: Slot
    reduce_only: bool


def action_of(account: PerpAccount, request: PerpRequest) -> Action | PerpReason:
    """Read side, trade side and position id as the account's mode has them."""
    if account.position_mode is PositionMode.ONE_WAY:
        return Action(request.side, None, request.reduce_only)
    side = PositionSide.LONG if request.side is Side.BUY else PositionSide.SHORT
    if request.trade_side is TradeSide.OPEN:
        if request.reduce_only:
            return PerpReason.REDUCE_ONLY_SAME_DIRECTION
        return Action(request.side, side, reduce_only=False)
    if request.trade_side is not TradeSide.CLOSE:
        return PerpReason.BAD_TRADE_SIDE
    position = account.positions.get((request.symbol, side))
    if position is None or position.position_id != request.position_id:
        return PerpReason.UNKNOWN_POSITION
    return Action(Side(-request.side), side, reduce_only=True)


def form_refusal(market: Market, request: PerpRequest) -> PerpReason:
    """What is wrong with the numbers of a request, whoever sends it."""
    if type(request.size_lots) is not int or type(request.price_ticks) is not int:
        return PerpReason.BAD_PARAMETER
    is_limit = request.type is PerpType.LIMIT
    reason = size_refusal(market, request.size_lots, is_limit=is_limit)
    if reason is PerpReason.NONE and is_limit and not 0 < request.price_ticks <= _NUMBER_MAX:
        return PerpReason.BAD_PRICE
    return reason


def size_refusal(market: Market, size_lots: int, *, is_limit: bool) -> PerpReason:
    """Whether a size is within the contract's limits."""
    lots_max = market.instrument.lots_max
    if not is_limit and market.listing.market_lots_max:
        lots_max = min(lots_max, market.listing.market_lots_max)
    if size_lots < market.instrument.lots_min:
        return PerpReason.TOO_SMALL
    return PerpReason.TOO_LARGE if size_lots > lots_max else PerpReason.NONE


def band_refusal(market: Market, side: Side, price_ticks: int) -> PerpReason:
    """Whether a limit price is too far on the wrong side of the mark price."""
    band = market.listing.band_ppm
    if side is Side.BUY and price_ticks * PPM > market.mark_ticks * (PPM + band):
        return PerpReason.PRICE_ABOVE_BAND
    if side is Side.SELL and price_ticks * PPM < market.mark_ticks * (PPM - band):
        return PerpReason.PRICE_BELOW_BAND
    return PerpReason.NONE


def mode_refusal(market: Market, request: PerpRequest) -> PerpReason:
    """Whether the symbol takes such an order at present."""
    if market.mode in {TradingMode.STOP, TradingMode.CANCEL_ONLY}:
        return PerpReason.TRADING_HALTED
    if market.mode is TradingMode.POST_ONLY and not _is_post_only(request):
        return PerpReason.POST_ONLY_MODE
    return PerpReason.NONE


def _is_post_only(request: PerpRequest) -> bool:
    return request.type is PerpType.LIMIT and request.effect is Effect.POST_ONLY


def reduce_refusal(account: PerpAccount, symbol: str, action: Action) -> PerpReason:
    """Whether a reduce-only order has something to reduce."""
    lots = account.lots_in(symbol, action.slot)
    if not action.reduce_only or lots * action.side < 0:
        return PerpReason.NONE
    return PerpReason.REDUCE_ONLY_SAME_DIRECTION if lots else PerpReason.REDUCE_ONLY_NO_POSITION


def request_refusal(
    state: PerpState, account: PerpAccount, *, market: Market, request: PerpRequest, action: Action
) -> PerpReason:
    """Everything that keeps an order of an account's own from being taken, in the order it is said."""
    reason = mode_refusal(market, request)
    if reason is PerpReason.NONE and request.type is PerpType.LIMIT:
        reason = band_refusal(market, action.side, request.price_ticks)
    if reason is PerpReason.NONE:
        reason = reduce_refusal(account, market.symbol, action)
    if reason is PerpReason.NONE:
        reason = _attached_refusal(market, request, action)
    if reason is not PerpReason.NONE or action.reduce_only:
        return reason
    price = _price_to_expect(account, market, request)
    new = Claim(action.side, action.slot, lots=request.size_lots, price_ticks=price, reduce_only=False)
    claims = [*claims_in(account, market.symbol), new]
    return opening_refusal(state, account, market=market, claims=claims, new=new)


def _price_to_expect(account: PerpAccount, market: Market, request: PerpRequest) -> int:
    """A limit order's own price; for a market order the average of what it would take, rounded up."""
    if request.type is PerpType.LIMIT:
        return request.price_ticks
    words = market.book.words
    lots, cost = matching.cost_to_fill(words, int(request.side), request.size_lots, 0, account.number)
    return -(-cost // lots) if lots else market.mark_ticks


def _attached_refusal(market: Market, request: PerpRequest, action: Action) -> PerpReason:
    """Whether the take-profit and stop-loss of an order lie on their sides of its price."""
    if request.tp is None and request.sl is None:
        return PerpReason.NONE
    if action.reduce_only:
        return PerpReason.BAD_PARAMETER
    for leg, is_tp in ((request.tp, True), (request.sl, False)):
        if leg is None:
            continue
        price = request.price_ticks if request.type is PerpType.LIMIT else price_by(market, leg.by)
        reason = leg_refusal(leg) or _side_refusal(leg, action.side, is_tp=is_tp, price_ticks=price)
        if reason:
            return reason
    return PerpReason.NONE


def leg_refusal(leg: TriggerLeg) -> PerpReason:
    """What is wrong with the numbers of one half of a row."""
    if not 0 < leg.price_ticks <= _NUMBER_MAX:
        return PerpReason.TRIGGER_NOT_POSITIVE
    if leg.order_type is PerpType.LIMIT and not 0 < leg.order_price_ticks <= _NUMBER_MAX:
        return PerpReason.BAD_PRICE
    return PerpReason.NONE if leg.size_lots >= 0 else PerpReason.TOO_SMALL


def _side_refusal(leg: TriggerLeg, side: Side, *, is_tp: bool, price_ticks: int) -> PerpReason:
    """Against the price of the order it is attached to; `side` is the order's."""
    is_above = leg.price_ticks > price_ticks
    if leg.price_ticks != price_ticks and is_above == ((side is Side.BUY) == is_tp):
        return PerpReason.NONE
    if is_tp:
        return PerpReason.TP_BELOW_ENTRY if side is Side.BUY else PerpReason.TP_ABOVE_ENTRY
    return PerpReason.SL_ABOVE_ENTRY if side is Side.BUY else PerpReason.SL_BELOW_ENTRY


def price_by(market: Market, by: TriggerBy) -> int:
    """The price a trigger looks at, now."""
    return market.mark_ticks if by is TriggerBy.MARK_PRICE else market.book.last_ticks


def trigger_refusal(market: Market, side: PositionSide, *, leg: TriggerLeg, is_tp: bool) -> PerpReason:
    """Whether a trigger of a position would fire at once; `side` is the position's."""
    price = price_by(market, leg.by)
    wants_above = (side is PositionSide.LONG) == is_tp
    if leg.price_ticks != price and (leg.price_ticks > price) == wants_above:
        return PerpReason.NONE
    by = "mark" if leg.by is TriggerBy.MARK_PRICE else "last"
    return PerpReason(f"{'tp' if is_tp else 'sl'}_{'below' if wants_above else 'above'}_{by}")
