"""Rows of Bitunix's answers, as they stand on the wire: keys, types and quirks of the reference. Pure rendering.

`shifted_ns` is what the venue's clock is ahead of its own time; every time in a row is shown with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agora.domain.instruments import Instrument
from agora.domain.numbers import MONEY_SCALE, PPB, PPM, money_text
from agora.domain.orders import Side
from agora.exchange.perp_records import (
    Bar,
    ClosedPosition,
    FundingSettled,
    Money,
    PerpOrder,
    PerpPosition,
    PerpStatus,
    PerpTicker,
    PerpTrade,
    PerpType,
    PositionMode,
    PositionSide,
    TpslRow,
    TradingMode,
    TriggerLeg,
)
from agora.exchange.perp_rules import PerpListing
from agora.exchange.records import Depth
from agora.testnet.bitunix_frames import percent_text
from agora.testnet.bitunix_params import MARGIN_COIN, average_text, ms_of
from agora.testnet.bitunix_settings import BitunixTestnetSettings
from agora.testnet.bitunix_world import Funding

Row = dict[str, Any]
HOUR_S = 3_600
_STATUS_WORDS: Mapping[TradingMode, str] = {
    TradingMode.OPEN: "OPEN", TradingMode.POST_ONLY: "OPEN",
    TradingMode.CANCEL_ONLY: "CANCEL_ONLY", TradingMode.STOP: "STOP",
}  # fmt: skip
# The venue's cap of a funding rate, percent.
FUNDING_MAX, FUNDING_MIN = "0.3", "-0.3"


class Renderer:
    """Writes rows in the way the settings say; `shifted_ns` may change while it works."""

    def __init__(self, settings: BitunixTestnetSettings, shifted_ns: int = 0) -> None:
        self._settings = settings
        self._shifted_ns = shifted_ns

    def _ms(self, ts_ns: int) -> int:
        return ms_of(ts_ns + self._shifted_ns) if ts_ns else 0

    def _time(self, ts_ns: int) -> int | str:
        """A time of those endpoints that write strings on the wire."""
        ms = self._ms(ts_ns)
        return str(ms) if self._settings.writes_times_as_text else ms

    def _case(self, word: str) -> str:
        return word.capitalize() if self._settings.writes_capitalised else word

    # Market data.

    def pair(self, listing: PerpListing, mode: TradingMode, *, is_coarse: bool) -> Row:
        """A contract."""
        instrument = listing.instrument
        decimals = _decimals(instrument.tick_size)
        return {
            "symbol": instrument.symbol,
            "base": instrument.base,
            "quote": instrument.quote,
            "minTradeVolume": instrument.size_text(instrument.lots_min),
            "minBuyPriceOffset": "-0.95",
            "maxSellPriceOffset": "100",
            "maxLimitOrderVolume": _coins(instrument, instrument.lots_max),
            "maxMarketOrderVolume": _coins(instrument, listing.market_lots_max or instrument.lots_max),
            "basePrecision": _decimals(instrument.lot_size),
            "quotePrecision": max(0, decimals - 1) if is_coarse else decimals,
            "minLeverage": 1,
            "maxLeverage": listing.ladder[0].leverage_max,
            "defaultLeverage": listing.leverage_default,
            "defaultMarginMode": 1,
            "priceProtectScope": _share(listing.band_ppm),
            "symbolStatus": _STATUS_WORDS[mode],
            "isApiSupported": True,
            "maxFundingRate": FUNDING_MAX,
            "minFundingRate": FUNDING_MIN,
        }

    def tiers(self, listing: PerpListing) -> list[Row]:
        """The ladder of positions."""
        ends = [tier.end_units for tier in listing.ladder]
        return [
            {
                "symbol": listing.instrument.symbol,
                "level": level,
                "startValue": _whole(start),
                "endValue": _whole(tier.end_units),
                "leverage": tier.leverage_max,
                "maintenanceMarginRate": _share(tier.maintenance_ppm),
            }
            for level, (start, tier) in enumerate(zip([0, *ends], listing.ladder, strict=False), start=1)
        ]

    def ticker(self, ticker: PerpTicker, instrument: Instrument) -> Row:
        """The last day."""
        return {
            "symbol": ticker.symbol,
            "markPrice": instrument.price_text(ticker.mark_ticks),
            "lastPrice": instrument.price_text(ticker.last_ticks),
            "open": instrument.price_text(ticker.open_ticks),
            "last": instrument.price_text(ticker.last_ticks),
            "quoteVol": money_text(ticker.quote_units),
            "baseVol": instrument.size_text(ticker.size_lots),
            "high": instrument.price_text(ticker.high_ticks),
            "low": instrument.price_text(ticker.low_ticks),
        }

    def depth(self, depth: Depth, instrument: Instrument) -> Row:
        """The book: asks rising, bids falling."""
        return {
            "asks": [[instrument.price_text(at.price_ticks), instrument.size_text(at.size_lots)] for at in depth.asks],
            "bids": [[instrument.price_text(at.price_ticks), instrument.size_text(at.size_lots)] for at in depth.bids],
        }

    def kline(self, bar: Bar, instrument: Instrument, kind: str) -> Row:
        """A candle, its volumes under each other's names as on the wire. Its time is the venue's own grid."""
        base, quote = instrument.size_text(bar.size_lots), money_text(bar.quote_units)
        volumes = (base, quote) if self._settings.swaps_kline_volumes else (quote, base)
        return {
            "open": instrument.price_text(bar.open_ticks),
            "high": instrument.price_text(bar.high_ticks),
            "close": instrument.price_text(bar.close_ticks),
            "low": instrument.price_text(bar.low_ticks),
            "time": ms_of(bar.start_ns),
            "quoteVol": volumes[0],
            "baseVol": volumes[1],
            "type": kind,
        }

    def funding(self, funding: Funding, ticker: PerpTicker, listing: PerpListing) -> Row:
        """Funding as it stands. Its interval is in whole hours, whatever a test's is."""
        instrument = listing.instrument
        in_percent = self._settings.gives_funding_in_percent
        return {
            "symbol": instrument.symbol,
            "markPrice": instrument.price_text(ticker.mark_ticks),
            "lastPrice": instrument.price_text(ticker.last_ticks),
            "indexPrice": instrument.price_text(ticker.index_ticks),
            "fundingRate": percent_text(funding.rate_ppb) if in_percent else fraction_text(funding.rate_ppb),
            "fundingInterval": max(1, listing.funding_interval_s // HOUR_S),
            "nextFundingTime": self._time(funding.next_ns),
            "maxFundingRate": FUNDING_MAX,
            "minFundingRate": FUNDING_MIN,
        }

    def funding_history(self, settled: FundingSettled, instrument: Instrument) -> Row:
        """A settlement of the past, its rate as a fraction."""
        return {
            "fundingRate": fraction_text(settled.rate_ppb),
            "fundingTime": self._time(settled.ts_ns),
            "markPrice": instrument.price_text(settled.mark_ticks),
        }

    # The account.

    def account(self, money: Money, mode: PositionMode) -> Any:
        """Money; the profit of open positions is in what is available."""
        available = money.available_units + money.unrealised_units
        row = {
            "marginCoin": MARGIN_COIN,
            "available": money_text(available),
            "frozen": money_text(money.frozen_units),
            "margin": money_text(money.margin_units),
            "transfer": money_text(max(0, min(available, money.available_units))),
            "positionMode": mode.value,
            "crossUnrealizedPNL": money_text(money.unrealised_units),
            "isolationUnrealizedPNL": "0",
            "bonus": "0",
        }
        return [row] if self._settings.writes_account_as_list else row

    def order(self, order: PerpOrder, instrument: Instrument) -> Row:
        """An order; the documentation's table and its examples name some keys differently: both are there."""
        is_limit = order.type is PerpType.LIMIT
        unpriced = "market" if self._settings.writes_market_as_price else ""
        status = order.status.value
        if order.status is PerpStatus.NEW and self._settings.writes_new_with_underscore:
            status = f"{status}_"
        row: Row = {
            "orderId": str(order.order_id),
            "qty": instrument.size_text(order.size_lots),
            "tradeQty": instrument.size_text(order.filled_lots),
            "price": instrument.price_text(order.price_ticks) if is_limit else unpriced,
            "symbol": order.symbol,
            "positionMode": order.position_mode.value,
            "marginMode": order.margin_mode.value,
            "leverage": order.leverage,
            "status": status,
            "fee": money_text(order.fee_units),
            "realizedPNL": money_text(order.realised_units),
            "side": self._case(order.side.name),
            "type": self._case(order.type.value),
            "orderType": self._case(order.type.value),
            "effect": order.effect.value if is_limit else None,
            "reduceOnly": order.reduce_only,
            "clientId": order.client_id,
            **_leg("tp", order.tp, instrument),
            **_leg("sl", order.sl, instrument),
            "source": order.source.value,
            "ctime": self._ms(order.created_ns),
            "mtime": self._ms(order.changed_ns),
        }
        if order.filled_lots:
            row["averagePrice"] = average_text(order.cost_units, order.filled_lots, instrument)
        return row

    def trade(self, trade: PerpTrade, instrument: Instrument) -> Row:
        """A trade of the account."""
        is_limit = trade.type is PerpType.LIMIT
        return {
            "tradeId": str(trade.trade_id),
            "orderId": str(trade.order_id),
            "marginCoin": None,
            "symbol": trade.symbol,
            "qty": instrument.size_text(trade.size_lots),
            "positionMode": trade.position_mode.value,
            "marginMode": "CROSS",
            "leverage": trade.leverage,
            "price": instrument.price_text(trade.price_ticks),
            "side": self._case(trade.side.name),
            "orderType": self._case(trade.type.value),
            "effect": trade.effect.value if is_limit else None,
            "clientId": None if self._settings.omits_client_ids_of_trades else trade.client_id,
            "reduceOnly": trade.reduce_only,
            "status": None,
            "fee": money_text(trade.fee_units),
            "realizedPNL": money_text(trade.realised_units),
            "ctime": self._time(trade.ts_ns),
            "roleType": "MAKER" if trade.is_maker else "TAKER",
        }

    def _position_side(self, side: PositionSide) -> str:
        if not self._settings.writes_sides_as_orders:
            return side.value
        return self._case((Side.BUY if side is PositionSide.LONG else Side.SELL).name)

    def position(self, position: PerpPosition, instrument: Instrument, money: Money) -> Row:
        """An open position. `funding` is positive where it was received."""
        equity = max(1, money.wallet_units + money.unrealised_units)
        return {
            "positionId": str(position.position_id),
            "symbol": position.symbol,
            "qty": instrument.size_text(position.size_lots),
            "entryValue": money_text(position.cost_units),
            "side": self._position_side(position.side),
            "positionMode": position.position_mode.value,
            "marginMode": position.margin_mode.value,
            "leverage": position.leverage,
            "fee": money_text(position.fee_units),
            "funding": money_text(position.funding_units),
            "realizedPNL": money_text(position.realised_units),
            "margin": money_text(position.margin_units),
            "unrealizedPNL": money_text(position.unrealised_units),
            "liqPrice": instrument.price_text(position.liquidation_ticks),
            "marginRate": f"{position.maintenance_units / equity:.6f}",
            "avgOpenPrice": average_text(position.cost_units, position.size_lots, instrument),
            "ctime": self._time(position.created_ns),
            "mtime": self._time(position.changed_ns),
        }

    def closed_position(self, position: ClosedPosition, instrument: Instrument) -> Row:
        """A position that has ended."""
        lots = position.entry_lots
        return {
            "positionId": str(position.position_id),
            "symbol": position.symbol,
            "maxQty": instrument.size_text(position.lots_max),
            "entryPrice": average_text(abs(position.entry_units), lots, instrument),
            "closePrice": average_text(abs(position.close_units), lots, instrument),
            "liqQty": instrument.size_text(position.liquidated_lots),
            "side": self._position_side(position.side),
            "positionMode": position.position_mode.value,
            "marginMode": position.margin_mode.value,
            "leverage": position.leverage,
            "fee": money_text(position.fee_units),
            "funding": money_text(position.funding_units),
            "realizedPNL": money_text(position.realised_units),
            "liqPrice": "0",
            "ctime": self._time(position.created_ns),
            "mtime": self._time(position.closed_ns),
        }

    def tpsl(self, row: TpslRow, instrument: Instrument, *, is_history: bool = False) -> Row:
        """A trigger; of history with what became of it."""
        shown: Row = {
            "id": str(row.tpsl_id),
            "positionId": str(row.position_id),
            "symbol": row.symbol,
            "base": instrument.base,
            "quote": instrument.quote,
            **_leg("tp", row.tp, instrument),
            **_leg("sl", row.sl, instrument),
            "tpQty": _leg_size(row.tp, instrument),
            "slQty": _leg_size(row.sl, instrument),
        }
        if is_history:
            triggered = self._ms(row.triggered_ns) if row.triggered_ns else None
            shown |= {"status": row.status.value, "ctime": self._ms(row.created_ns), "triggerTime": triggered}
        return shown


def _leg(kind: str, leg: TriggerLeg | None, instrument: Instrument) -> Row:
    """One half of a trigger; null where there is none."""
    if leg is None:
        return dict.fromkeys((f"{kind}Price", f"{kind}StopType", f"{kind}OrderType", f"{kind}OrderPrice"))
    return {
        f"{kind}Price": instrument.price_text(leg.price_ticks),
        f"{kind}StopType": leg.by.value,
        f"{kind}OrderType": leg.order_type.value,
        f"{kind}OrderPrice": instrument.price_text(leg.order_price_ticks) if leg.order_price_ticks else None,
    }


def _leg_size(leg: TriggerLeg | None, instrument: Instrument) -> str | None:
    return instrument.size_text(leg.size_lots) if leg is not None and leg.size_lots else None


def fraction_text(rate_ppb: int) -> str:
    """Parts per billion as a fraction."""
    sign = "-" if rate_ppb < 0 else ""
    whole, part = divmod(abs(rate_ppb), PPB)
    return f"{sign}{whole}.{part:09d}".rstrip("0").rstrip(".")


def _share(ppm: int) -> str:
    """Parts per million as a fraction."""
    return f"{ppm / PPM:.6f}".rstrip("0").rstrip(".")


def _whole(units: int) -> str:
    """Money in whole units of the currency."""
    return str(units // MONEY_SCALE)


def _coins(instrument: Instrument, lots: int) -> str:
    return f"{(lots * instrument.lot).normalize():f}"


def _decimals(step: str) -> int:
    return len(step.partition(".")[2])
