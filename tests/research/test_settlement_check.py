"""Settlement by one price against what was published: by hand, and on a recorded day of the oracle."""

from __future__ import annotations

from pathlib import Path

from agora.kernels import fair_value
from agora.research.recorded_windows import Market, Tick, read_markets, read_ticks
from agora.research.settlement_check import check_settlement

TICKS = [Tick(300_000, 1_000), Tick(600_000, 1_001), Tick(900_000, 999)]


def test_the_closing_print_decides_and_a_tie_is_up() -> None:
    """At, above and below the price to beat; windows without a print or a price to beat are counted apart."""
    markets = [
        Market(300, 1_000, is_up=True),
        Market(600, 1_000, is_up=True),
        Market(900, 1_000, is_up=False),
        Market(900, 1_000, is_up=True),
        Market(901, 1_000, is_up=True),
        Market(300, None, is_up=True),
    ]
    found = check_settlement(markets, TICKS)
    assert found == (4, 2, (900,))
    assert found.sentence() == "3 of 4 published outcomes reproduced; 2 have no closing print or no price to beat"


def test_a_recorded_day_settles_as_published(recorded_data: Path) -> None:
    """All 257 outcomes of 2026-07-24 that can be recomputed, by exact integers and by the fair value at the end."""
    folder = recorded_data / "polymarket"
    ticks = read_ticks(folder / "chainlink_btcusd_ticks_20260724.csv.gz")
    markets = read_markets(folder / "btc_5m_markets_20260724.jsonl.gz")
    assert (len(ticks.rows), ticks.skipped, len(markets.rows), markets.skipped) == (78_515, 0, 292, 0)
    found = check_settlement(markets.rows, ticks.rows)
    assert (found.recomputed, found.reproduced, found.different) == (257, 257, ())
    closes = {tick.ts_ms: tick.value for tick in ticks.rows}
    for market in markets.rows:
        close = closes.get(market.end_s * 1_000)
        if close is None or market.strike is None:
            continue
        value = fair_value.up_probability(close / 1e18, market.strike / 1e18, 0.0, 1e-8, 0.0, 0.0, 0, 0.0, 0)
        assert value == float(market.is_up)
