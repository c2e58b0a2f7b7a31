"""final_report.json of a market: figures of the exchange, endings and their codes, identities with the journal."""

from __future__ import annotations

from typing import Any

import pytest

from agora.domain.events import OperatorCommand
from agora.domain.market_events import NewsArrived
from agora.report.market_summary import check_market_identities
from tests.report.market_runs import Seen


@pytest.fixture(scope="module")
def ended() -> Seen:
    """A market of sixty ticks that has ended as planned."""
    seen = Seen(market__ticks=60)
    seen.take(NewsArrived(ts_ns=0, text="x", tone=0.5))
    seen.ticks(60)
    return seen


def test_a_report_tells_what_the_exchange_has(ended: Seen) -> None:
    """Ticks, trades, prices, volumes and portfolios are those of the market at its end."""
    report, market = ended.report(), ended.market
    assert (report["status"], report["exit_code"], report["stopped_reason"]) == ("completed", 0, "duration")
    assert (report["ticks"], report["trades"], report["news"]) == (60, market.state.trades, 1)
    assert report["duration_s"] == 60.0
    assert report["state_hash"] == market.state_hash()
    assert report["trades_digest"] == market.state.digest
    for row in report["per_symbol"]:
        series = [ticks / 100 for ticks in market.state.closes_ticks[report["symbols"].index(row["symbol"])]]
        assert float(row["price_end"]) == series[-1]
        assert float(row["price_start"]) == series[0]
        assert (row["price_low"], row["price_high"]) == (min(series[1:]), max(series[1:]))
    assert sum(int(row["volume"]) for row in report["per_symbol"]) == sum(ended.collector.volumes_lots.values()) > 0
    assert [agent["id"] for agent in report["agents"]] == [seat.name for seat in market.seats]


def test_a_sound_report_has_no_faults(ended: Seen) -> None:
    """Against the journal's own counts."""
    assert check_market_identities(ended.report(), ended.counts) == []


@pytest.mark.parametrize(
    "name,value",
    [("ticks", 61), ("news", 0), ("shocks", 2), ("llm", {"asked": 1, "outcomes": {}}), ("journal", {"records": 1})],
)
def test_a_count_that_the_journal_does_not_have_is_a_fault(name: str, value: Any, ended: Seen) -> None:
    """Each is named with both numbers."""
    report = ended.report()
    report[name] = value
    faults = check_market_identities(report, ended.counts)
    assert faults
    assert all(name in fault and "the journal gives" in fault for fault in faults)


@pytest.mark.parametrize("report", [{}, {"ticks": 1}, {"ticks": None, "llm": None}])
def test_a_report_that_cannot_be_read_is_a_fault(report: dict[str, Any], ended: Seen) -> None:
    """A sentence, not an exception."""
    (fault,) = check_market_identities(report, ended.counts)[-1:]
    assert "cannot be read" in fault


def test_success_without_a_trade_is_a_fault(ended: Seen) -> None:
    """Exit code 0 promises that something was traded."""
    report = ended.report()
    report["trades"] = 0
    assert check_market_identities(report, ended.counts) == ["exit code 0 without a tick or without a trade"]


def test_a_market_in_which_nobody_trades_fails() -> None:
    """Completed, but idle: code 5 and why."""
    seen = Seen(market__ticks=3, market__population=0, market__agents=["market_maker=1"])
    seen.ticks(3)
    report = seen.report()
    assert (report["status"], report["exit_code"], report["end_detail"]) == ("failed", 5, "nothing was traded")


def test_a_market_that_was_stopped_says_by_what() -> None:
    """The operator's words and the code of the command."""
    seen = Seen()
    seen.ticks(5)
    seen.take(OperatorCommand(ts_ns=0, command="kill", reason="smoke"))
    report = seen.report()
    assert (report["status"], report["exit_code"], report["stopped_reason"]) == ("stopped", 4, "smoke")


def test_a_market_without_an_ending_says_so() -> None:
    """A fault that ended the process: its code, its words, and how to go on."""
    seen = Seen()
    seen.ticks(5)
    report = seen.report(exit_code=7, fault="the disk is full")
    assert (report["status"], report["exit_code"], report["end_detail"]) == ("failed", 7, "the disk is full")
    assert "--resume" in report["residual"][0]
    assert seen.report()["exit_code"] == 8
