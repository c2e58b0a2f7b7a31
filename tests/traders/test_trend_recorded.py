"""The perp supervisor on 51 recorded days: both setups on both sides, and both funding gates, occur."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from arro3.core import DataType, Table
from arro3.io import read_ipc

from agora.domain.events import MarketCandle
from agora.domain.instruments import known_instrument
from agora.domain.numbers import NS_PER_S, PPB, Rounding
from agora.traders.trend import Trend
from tests.traders.views import SYMBOL, FakeView

HOUR_NS = 3_600 * NS_PER_S
BTC = known_instrument(SYMBOL)


def columns(path: Path) -> tuple[list[int], dict[str, list[float]]]:
    """Open times in ns and the named columns of a recording."""
    table = Table(read_ipc(path).read_all())
    times = table.column("date").cast(DataType.int64()).to_numpy().tolist()
    names = [name for name in table.column_names if name != "date"]
    return times, {name: table.column(name).to_numpy().tolist() for name in names}


def candles_of(folder: Path) -> list[MarketCandle]:
    """Both perp files joined; a minute that is in both is the same in both."""
    found: dict[int, MarketCandle] = {}
    for path in sorted(folder.glob("candles/binance_perp_BTCUSDT_1m_*.feather")):
        times, values = columns(path)
        prices = [[round(price * 10) for price in values[name]] for name in ("open", "high", "low", "close")]
        volumes = [BTC.size_lots(volume, Rounding.DOWN) for volume in values["volume"]]
        for ts_ns, open_, high, low, close, volume in zip(times, *prices, volumes, strict=True):
            found[ts_ns] = MarketCandle(
                ts_ns=ts_ns + 60 * NS_PER_S,
                instrument=SYMBOL,
                interval_s=60,
                open_ticks=open_,
                high_ticks=high,
                low_ticks=low,
                close_ticks=close,
                volume_lots=volume,
            )
    return [found[ts_ns] for ts_ns in sorted(found)]


def rates_of(folder: Path) -> dict[int, int]:
    """Settled funding in ppb by the hour of its settlement."""
    times, values = columns(folder / "funding" / "binance_perp_BTCUSDT_8h_20230101_20251206.feather")
    return {ts // HOUR_NS * HOUR_NS: round(rate * PPB) for ts, rate in zip(times, values["open"], strict=True)}


@pytest.mark.requirement("B38")
def test_over_51_days_every_setup_side_and_funding_gate_occurs(recorded_data: Path) -> None:
    """With the shipped defaults and real funding, of an account that is never in a position."""
    candles, rates = candles_of(recorded_data), rates_of(recorded_data)
    assert len(candles) == 73_139
    trader, view = Trend(), FakeView()
    seen: Counter[tuple[str, str]] = Counter()
    for candle in candles:
        view.now_ns = candle.ts_ns
        view.rate_ppb = rates.get(candle.ts_ns, view.rate_ppb)
        proposal = trader.decide(view, candle)
        assert proposal is not None
        seen[proposal.action, proposal.reason] += 1
    entries = [(side, setup) for side in ("enter_long", "enter_short") for setup in ("pullback", "sweep_and_reclaim")]
    for kind in entries:
        assert seen[kind] > 0, kind
    for reason in (
        "funding_gate_long",
        "funding_gate_short",
        "reward_too_small",
        "against_trend",
        "no_trend",
        "costs_too_high",
    ):
        assert seen["hold", reason] > 0, reason
    # Most minutes offer nothing that pays its fees; a trader that always enters is broken.
    assert sum(seen[kind] for kind in entries) < len(candles) // 5
