"""Runs on real recordings, from the files to the report: flat, verified, replayed bit for bit, honest about costs."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agora import audit, launch
from agora.config import load_config
from agora.domain.errors import UsageFault
from agora.domain.events import FeedMalformed, MarketDepth, MarketQuote, MarketTrade, OrderAccepted, OrderFilled
from agora.domain.numbers import NS_PER_MS
from agora.journal.disk import Disk
from agora.journal.reader import read_records
from agora.session.folder import Home

PERP = (
    "candles/binance_perp_BTCUSDT_1m_20250504_20250603.feather",
    "candles/binance_perp_BTCUSDT_1m_20250525_20250624.feather",
    "funding/binance_perp_BTCUSDT_8h_20230101_20251206.feather",
)
USDM = "ticks/binance_usdm_btcusdt_20240808_2354.wsfeed.gz"


def backtest(folder: Path, home: Path, *files: str, pairs: tuple[str, ...] = (), **flags: Any) -> launch.Outcome:
    """`agora backtest --data FILE …` with everything it writes below `home`."""
    named = {"run.venue": "recorded", "run.data": [str(folder / file) for file in files]}
    named |= {f"run.{name}": value for name, value in flags.items()}
    return launch.run_new(load_config({}, named, list(pairs)), launch.Options(home=Home(home), is_quiet=True))


def events_of(outcome: launch.Outcome, *kinds: type[Any]) -> list[Any]:
    """Records of those kinds."""
    return [record.event for record in read_records(Disk(outcome.folder)) if isinstance(record.event, kinds)]


def check_good(outcome: launch.Outcome) -> None:
    """`agora verify` finds nothing, `agora replay` gives the same run again."""
    verified = audit.verify_run(outcome.folder)
    assert verified["good"], verified["faults"]
    replayed = audit.replay_run(outcome.folder)
    assert replayed["identical"], replayed["differences"]
    assert replayed["report_compared"]


def check_money(report: dict[str, Any]) -> None:
    """The identity of the report, in exact decimals."""
    money = {name: Decimal(report[name]) for name in ("pnl_net", "pnl_gross", "fees", "funding")}
    assert money["pnl_net"] == money["pnl_gross"] - money["fees"] + money["funding"]
    assert money["pnl_net"] == Decimal(report["equity_end"]) - Decimal(report["equity_start"])


@pytest.mark.slow
@pytest.mark.requirement("B62")
@pytest.mark.requirement("B24")
@pytest.mark.requirement("B20")
@pytest.mark.requirement("H2.3")
def test_fifty_one_days_of_a_perpetual_with_its_funding(recorded_data: Path, tmp_path: Path) -> None:
    """Both candle files joined: every minute is decided on, the account ends flat, costs stand beside the result."""
    outcome = backtest(recorded_data, tmp_path, *PERP)
    report = outcome.report
    assert (outcome.exit_code, report["status"], report["stopped_reason"]) == (0, "completed", "data_end")
    assert (report["flat"], report["residual"]) == (True, [])
    assert (report["market_events"], report["decisions"]) == (73_139, 73_139)
    assert report["trades"] >= 10
    check_money(report)
    assert Decimal(report["fees"]) > 0
    assert Decimal(report["funding"]) != 0
    assert Decimal(report["slippage"]) > 0
    assert any("latency" in line for line in report["assumptions"])
    page = (outcome.folder / "report.html").read_text()
    for name in ("fees", "funding", "slippage"):
        assert report[name] in page, name
        assert name in page.lower()
    check_good(outcome)


@pytest.mark.slow
@pytest.mark.requirement("B40")
@pytest.mark.requirement("B24")
def test_six_minutes_of_a_perpetual_tick_by_tick(recorded_data: Path, tmp_path: Path) -> None:
    """Snapshot, depth updates, quotes and trades: one-second bars, orders filled from the book, nothing dropped."""
    outcome = backtest(recorded_data, tmp_path, USDM, trader=["ema_cross"], interval="1s")
    report = outcome.report
    assert (outcome.exit_code, report["flat"]) == (0, True)
    assert report["orders"]["sent"] > 0
    assert report["orders"]["filled"] > 0
    assert (report["malformed"], report["overflow_dropped"]) == (0, 0)
    assert report["market_events"] > 90_000
    check_money(report)
    market = events_of(outcome, MarketDepth, MarketQuote, MarketTrade)
    assert {type(event) for event in market} == {MarketDepth, MarketQuote, MarketTrade}
    assert sum(isinstance(event, MarketDepth) and event.is_snapshot for event in market) >= 1
    latencies = [event.latency_ns for event in events_of(outcome, OrderAccepted)]
    assert min(latencies) >= 50 * NS_PER_MS
    assert max(latencies) <= 500 * NS_PER_MS
    assert _fills_off_the_touch(outcome) == []
    check_good(outcome)


def _fills_off_the_touch(outcome: launch.Outcome) -> list[OrderFilled]:
    """Fills more than five basis points from the last quote: with a book this deep there are none."""
    middle, found = 0, []
    for record in read_records(Disk(outcome.folder)):
        event = record.event
        if isinstance(event, MarketQuote):
            middle = (event.bid_ticks + event.ask_ticks) // 2
        elif isinstance(event, OrderFilled) and abs(event.fill_price_ticks - middle) * 10_000 > 5 * middle:
            found.append(event)
    return found


@pytest.mark.requirement("B62")
def test_another_symbol_is_traded_as_itself(recorded_data: Path, tmp_path: Path) -> None:
    """ETH minutes, ten days: its own steps and name in report and orders, flat, verified, replayed."""
    file = "candles/binance_spot_ETHUSDT_1m_20250520_20250818.feather"
    outcome = backtest(recorded_data, tmp_path, file, duration_minutes=10 * 1_440.0)
    report = outcome.report
    assert report["symbols"] == ["ETHUSDT"]
    assert report["flat"]
    assert report["exit_code"] in (0, 4)
    assert report["trades"] >= 1
    assert {event.instrument for event in events_of(outcome, OrderFilled)} == {"ETHUSDT"}
    check_money(report)
    check_good(outcome)


@pytest.mark.requirement("H1.2")
def test_a_thin_market_needs_patience(recorded_data: Path, tmp_path: Path) -> None:
    """Trades of a quiet venue: with the default time-out the first long silence ends the run, with a longer one not."""
    file = "ticks/gemini_spot_ethusd_20210701_trades.csv.gz"
    facts: dict[str, Any] = {"trader": ["ema_cross"], "interval": "1m"}
    short = backtest(recorded_data, tmp_path / "a", file, **facts)
    assert (short.report["stopped_reason"], short.exit_code, short.report["flat"]) == ("stale_data", 5, True)
    long = backtest(recorded_data, tmp_path / "b", file, pairs=("risk.stale_timeout_s=300",), **facts)
    assert (long.report["stopped_reason"], long.exit_code, long.report["flat"]) == ("data_end", 0, True)
    assert long.report["market_events"] == 25_222
    assert long.report["trades"] >= 1
    check_good(long)


@pytest.mark.requirement("B4")
@pytest.mark.requirement("H2.4")
def test_damaged_and_impossible_trades_are_named_and_never_traded(recorded_data: Path, tmp_path: Path) -> None:
    """A price of -1 (planted) and one of 0 (genuine): counted by reason with their lines, absent from the market."""
    file = "ticks/binance_usdm_trxusdt_20250304_trades_damaged.csv.gz"
    outcome = backtest(
        recorded_data, tmp_path, file, trader=["ema_cross"], interval="1s", pairs=("risk.stale_timeout_s=300",)
    )
    assert outcome.report["malformed"] == 2
    said = {event.reason: event for event in events_of(outcome, FeedMalformed)}
    assert set(said) == {"not_positive", "zero_price"}
    assert "price -1" in said["not_positive"].sample
    assert all(event.price_ticks > 0 and event.size_lots > 0 for event in events_of(outcome, MarketTrade))
    fills = events_of(outcome, OrderFilled)
    assert fills
    assert all(event.fill_price_ticks > 0 for event in fills)
    assert outcome.report["flat"]
    check_good(outcome)


@pytest.mark.requirement("B4")
def test_a_damaged_stream_of_the_book_is_named(recorded_data: Path, tmp_path: Path) -> None:
    """Times that disagree, a message cut in two: found, said, and the run ends in order."""
    file = "ticks/binance_usdm_trxusdt_20250414_merged_damaged.csv.gz"
    damaged = backtest(recorded_data, tmp_path / "a", file, pairs=("risk.stale_timeout_s=3600",))
    assert damaged.report["malformed"] >= 1
    assert {event.reason for event in events_of(damaged, FeedMalformed)} >= {"time_mismatch"}
    check_good(damaged)
    good = backtest(recorded_data, tmp_path / "b", file.replace("damaged", "ok"), pairs=("risk.stale_timeout_s=3600",))
    assert good.report["malformed"] < damaged.report["malformed"]


def test_an_inverse_contract_is_refused_before_anything_starts(recorded_data: Path, tmp_path: Path) -> None:
    """Its profit is not linear in the price: our money would be wrong, and the words say so."""
    with pytest.raises(UsageFault, match=r"inverse contract"):
        backtest(recorded_data, tmp_path, "ticks/binance_coinm_btcusd_perp_20240808_2354.wsfeed.gz")
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.requirement("B24")
def test_two_runs_of_the_same_settings_decide_the_same(recorded_data: Path, tmp_path: Path) -> None:
    """Another folder, another run id: the same fills and the same money, to the unit."""

    def told(home: Path) -> list[object]:
        outcome = backtest(recorded_data, home, *PERP, duration_minutes=5 * 1_440.0)
        fills = events_of(outcome, OrderFilled)
        unnamed = [msgspec.structs.replace(fill, client_id="", venue_fill_id="") for fill in fills]
        return [*unnamed, outcome.report["equity_end"]]

    first = told(tmp_path / "a")
    assert len(first) > 1
    assert first == told(tmp_path / "b")
