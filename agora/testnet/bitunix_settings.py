"""How the loopback Bitunix is: ports, market, cadences, quirks. Light to import: no server, no compiled code."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from agora.venues.local import LocalSettings

_Port = Annotated[int, Meta(ge=0, le=65_535)]
_CadenceMs = Annotated[int, Meta(ge=10, le=60_000)]


class BitunixTestnetSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The testnet of Bitunix. Where the venue's own descriptions leave something open, it is a switch here."""

    port: Annotated[_Port, Meta(description="port of REST and both sockets (0: a free one)")] = 0
    control_port: Annotated[_Port, Meta(description="port of the control calls (0: a free one)")] = 0
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1, description="seed of prices, flow and keys")] = 1
    symbols: Annotated[tuple[str, ...], Meta(min_length=1, max_length=20, description="contracts that are listed")] = (
        "BTCUSDT",
        "ETHUSDT",
    )
    data: Annotated[
        tuple[str, ...], Meta(max_length=1_000, description="recordings or original files that give the price")
    ] = ()
    loops_data: Annotated[bool, Meta(description="begin recordings anew at their end; else the last price stays")] = (
        True
    )
    speed: Annotated[float, Meta(gt=0, le=1_000, description="venue time runs so many times as fast")] = 1.0
    idle_minutes: Annotated[
        float, Meta(ge=0, le=527_040, description="end by itself after so long without anybody (0: never), minutes")
    ] = 0.0

    # The accounts.
    accounts: Annotated[int, Meta(ge=1, le=100, description="funded accounts at the start")] = 1
    deposit: Annotated[
        str, Meta(pattern=r"^[1-9]\d{0,11}(\.\d{1,8})?$", description="money of each, in the quote currency")
    ] = "10000"
    history_max: Annotated[
        int, Meta(ge=100, le=1_000_000, description="orders and trades kept of each account, and orders noted in all")
    ] = 100_000

    # The market.
    daily_volatility: Annotated[
        float, Meta(gt=0, le=1, description="standard deviation of a day's return, as a fraction")
    ] = LocalSettings().daily_volatility
    volatility_of_volatility: Annotated[float, Meta(ge=0, le=2, description="standard deviation of log volatility")] = (
        LocalSettings().volatility_of_volatility
    )
    trend_strength: Annotated[
        float, Meta(ge=0, le=3, description="drift swings, in standard deviations of a second's return")
    ] = LocalSettings().trend_strength
    spread_bps: Annotated[float, Meta(ge=0, le=100, description="quoted spread, bps of the price")] = (
        LocalSettings().spread_bps
    )
    history_minutes: Annotated[int, Meta(ge=0, le=1_500, description="minutes of candles from before the start")] = 300
    trades_per_s: Annotated[float, Meta(ge=0, le=10, description="trades among others, a symbol and second")] = 3.5
    level_notional: Annotated[
        float, Meta(ge=100, le=1e9, description="usual size of a level of the book, in the quote currency")
    ] = 60_000.0
    funding_rate_ppb: Annotated[
        int, Meta(ge=-3_000_000, le=3_000_000, description="funding rate per interval, ppb")
    ] = 100_000
    funding_interval_s: Annotated[
        int, Meta(ge=0, le=86_400, description="time between fundings (0: the contract's own), s")
    ] = 0

    # Cadences.
    quote_ms: Annotated[_CadenceMs, Meta(description="makers renew their quotes so often, ms")] = 310
    depth_ms: Annotated[_CadenceMs, Meta(description="depth frames, ms")] = 310
    price_ms: Annotated[_CadenceMs, Meta(description="frames of mark and index price, ms")] = 500
    ticker_ms: Annotated[_CadenceMs, Meta(description="ticker frames, ms")] = 1_400
    kline_ms: Annotated[_CadenceMs, Meta(description="candle frames, ms")] = 500

    # What the venue checks, and what of it is not known.
    checks_skew: Annotated[bool, Meta(description="refuse requests whose time is off by more than skew_s_max")] = False
    skew_s_max: Annotated[float, Meta(gt=0, le=3_600, description="largest such offset, s")] = 5.0
    checks_nonce: Annotated[bool, Meta(description="refuse a nonce that an account has used before")] = False
    serves_short_klines: Annotated[bool, Meta(description="candles of 1s, 5s, 15s and 30s, which the venue lacks")] = (
        True
    )

    # Quirks that connectors report of the wire; off: as the documentation has it.
    writes_times_as_text: Annotated[bool, Meta(description="times of positions, trades and fundings are strings")] = (
        True
    )
    writes_sides_as_orders: Annotated[bool, Meta(description="positions are BUY and SELL, not LONG and SHORT")] = True
    writes_new_with_underscore: Annotated[bool, Meta(description="the status NEW is written NEW_")] = True
    writes_market_as_price: Annotated[bool, Meta(description="the price of a market order is the word market")] = True
    writes_account_as_list: Annotated[bool, Meta(description="the account is a list of one")] = False
    writes_capitalised: Annotated[bool, Meta(description="sides and types as Buy and Limit in replies and pushes")] = (
        False
    )
    swaps_kline_volumes: Annotated[bool, Meta(description="quoteVol of candles is the base quantity")] = True
    gives_funding_in_percent: Annotated[bool, Meta(description="the present funding rate is in percent")] = True
    anchors_klines_at_end: Annotated[bool, Meta(description="startTime of candles is ignored")] = True
    ignores_position_filter: Annotated[bool, Meta(description="positionId does not filter trades")] = True
    omits_client_ids_of_trades: Annotated[bool, Meta(description="clientId of trades is null")] = True
    hides_cancelled: Annotated[bool, Meta(description="history leaves out cancelled orders unless asked for them")] = (
        True
    )
    starts_cold: Annotated[bool, Meta(description="the first call for contracts is answered with code 1")] = False
