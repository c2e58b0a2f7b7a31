"""What is collected of a market run: a row a second, prices, volumes, news and shocks, health."""

from __future__ import annotations

from agora.domain.events import Heartbeat
from agora.domain.market_events import NewsArrived, Shock
from agora.report.market_collector import NOTABLE_MAX
from tests.report.market_runs import Seen


def test_a_row_a_second_with_prices_and_volumes() -> None:
    """Ten ticks of a second: ten rows, each with the prices at its end; volumes add up to those of the trades."""
    seen = Seen()
    volumes = dict.fromkeys(("ARBO", "BRIO"), 0)
    for number in range(1, 11):
        seen.ticks(1)
        for trade in seen.market.new_trades:
            volumes[trade.symbol] += trade.size_lots
        instrument = seen.market.engine.accounts.instrument("ARBO")
        assert seen.rows.column("price_ARBO")[-1] == instrument.price_text(seen.market.engine.book("ARBO").last_ticks)
        assert seen.rows.column("tick")[-1] == str(number)
    assert len(seen.rows.rows) == 10
    assert all(len(row) == len(seen.rows.columns) for row in seen.rows.rows)
    for symbol, lots in volumes.items():
        assert sum(map(int, seen.rows.column(f"volume_{symbol}"))) == lots == seen.collector.volumes_lots[symbol]
    assert seen.rows.column("trades")[-1] == str(seen.market.state.trades)


def test_ticks_of_a_fraction_of_a_second_share_a_row() -> None:
    """A hundred ticks of 0.1 s make ten or eleven rows."""
    seen = Seen(market__tick="0.1")
    seen.ticks(100)
    assert 10 <= len(seen.rows.rows) <= 11


def test_health_is_in_the_rows_after_a_heartbeat() -> None:
    """Empty before the first one; then the newest."""
    seen = Seen()
    seen.ticks(1)
    beat = Heartbeat(ts_ns=0, cpu_fraction=0.5, rss_mb=123.5, disk_free_mb=9.0, loop_lag_ms=1.25, queue_depth=3)
    seen.take(beat)
    seen.ticks(1)
    assert seen.rows.column("rss_mb") == ["", "123.5"]
    assert seen.collector.rss_mb_max == 123.5


def test_news_and_shocks_are_counted_and_named() -> None:
    """All are counted; as many as a page can hold are named, with the cause of a shock."""
    seen = Seen()
    seen.take(Shock(ts_ns=5, symbol="ARBO", fraction_ppm=-50_000, cause="a flood"))
    for number in range(NOTABLE_MAX + 10):
        seen.take(NewsArrived(ts_ns=5, text=f"item {number}", tone=0.25))
    collector = seen.collector
    assert (collector.news, collector.shocks, len(collector.notables)) == (NOTABLE_MAX + 10, 1, NOTABLE_MAX)
    assert (collector.notables[0].what, collector.notables[0].text) == ("shock of ARBO (-5 %)", "a flood")
    assert collector.notables[1].what == "news (+0.25)"
    collector.close()
    assert seen.rows.is_closed
