"""The final report: its fields, its identities, and what it says of runs that went wrong."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from agora.domain.events import OperatorCommand
from agora.report.summary import build, check_identities
from tests.report.builders import Sequel, SmallRun, buy, quote, sell, wave
from tests.report.test_collector import busy_run

FIELDS = {
    *(
        "run_id",
        "status",
        "exit_code",
        "stopped_reason",
        "flat",
        "residual",
        "started_at",
        "ended_at",
        "duration_s",
    ),
    *("venue", "mode", "traders", "symbols", "seed", "config_hash", "version", "equity_start", "equity_end"),
    *("pnl_gross", "pnl_net", "fees", "funding", "trades", "win_rate", "max_drawdown_fraction", "sharpe"),
    *("per_trader", "per_symbol", "orders", "decisions", "market_events", "malformed", "overflow_dropped"),
    *("reconnects", "gaps_backfilled", "errors", "latency_ms", "loop_lag_ms_p99", "rss_mb_max", "journal"),
    *("state_hash", "assumptions"),
}
ORDER_FIELDS = {"intended", "sent", "accepted", "rejected", "refused", "filled", "cancelled", "unknown_now"}


def report_of(run: SmallRun, **facts: object) -> dict[str, Any]:
    """The report of a run, as it reads back from its file."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(build(run.collector, run.desk, run.meta(**facts))))
    return plain


@pytest.mark.requirement("B20")
def test_the_report_has_every_field_that_others_script_against() -> None:
    """All fields of the manual, with the types that a reader expects."""
    report = report_of(busy_run())
    assert set(report) >= FIELDS
    assert set(report["orders"]) >= ORDER_FIELDS
    assert set(report["latency_ms"]) == {"event_to_decision", "decision_to_ack"}
    assert all({"p50", "p99"} <= set(part) for part in report["latency_ms"].values())
    assert set(report["journal"]) == {"records", "head_hash"}
    money = ("equity_start", "equity_end", "pnl_gross", "pnl_net", "fees", "funding", "slippage")
    assert all(isinstance(report[name], str) and Decimal(report[name]).is_finite() for name in money)
    assert (report["status"], report["exit_code"], report["flat"], report["residual"]) == (
        "completed",
        0,
        True,
        [],
    )
    assert report["started_at"] == "2023-11-14T22:13:20.000Z"
    assert 70 <= report["duration_s"] < 72
    assert report["assumptions"][0] == "fills are on paper"


@pytest.mark.requirement("B20")
def test_the_identities_of_a_whole_run_hold_exactly() -> None:
    """Profit, sums and counts agree with each other and with the journal, to the last digit."""
    run = busy_run()
    report = report_of(run)
    assert check_identities(report, run.records()) == []
    net = Decimal(report["pnl_net"])
    assert net == Decimal(report["pnl_gross"]) - Decimal(report["fees"]) + Decimal(report["funding"])
    assert net == Decimal(report["equity_end"]) - Decimal(report["equity_start"])
    assert Decimal(report["funding"]) != 0


def test_the_identities_hold_while_a_position_is_open() -> None:
    """Open profit is part of the gross profit at any moment, not only at the end."""
    run = SmallRun(Sequel({1: (buy(20),)})).feed(wave(7))
    report = report_of(run)
    assert check_identities(report, run.records()) == []
    assert Decimal(report["unrealised"]) != 0


def _change(path: str, change: Callable[[Any], Any]) -> Callable[[dict[str, Any]], None]:
    def spoil(report: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        target: Any = report
        for name in parents:
            target = target[int(name)] if name.isdigit() else target[name]
        target[last] = change(target[last])

    return spoil


def _more(number: int) -> int:
    return number + 1


def _richer(text: str) -> str:
    return str(Decimal(text) + Decimal("0.00000001"))


@pytest.mark.requirement("B20")
@pytest.mark.parametrize(
    "path, change, said",
    [
        ("pnl_net", _richer, "pnl_net"),
        ("equity_end", _richer, "equity_end"),
        ("fees", _richer, "fees"),
        ("funding", _richer, "funding"),
        ("realised", _richer, "realised"),
        ("per_symbol.0.fees", _richer, "per_symbol fees"),
        ("per_trader.1.realised", _richer, "per_trader realised"),
        ("per_symbol.1.trades", _more, "per_symbol trades"),
        ("per_trader.0.wins", _more, "per_trader wins"),
        ("orders.intended", _more, "order.intent"),
        ("orders.sent", _more, "order.sent"),
        ("orders.accepted", _more, "order.accepted"),
        ("orders.rejected", _more, "order.rejected"),
        ("orders.refused", _more, "order.refused"),
        ("orders.filled", _more, "order.filled"),
        ("orders.cancelled", _more, "order.cancelled"),
        ("orders.unknown_now", _more, "in doubt"),
        ("decisions", _more, "decision"),
        ("errors", _more, "error"),
        ("malformed", _more, "malformed"),
        ("market_events", _more, "market"),
        ("journal.records", _more, "journal.records"),
        ("flat", lambda _: False, "flat"),
        ("residual", lambda _: ["position BTCUSDT 1 lots"], "flat"),
        ("decisions", lambda _: 0, "exit code 0"),
    ],
)
def test_one_changed_figure_is_noticed(path: str, change: Callable[[Any], Any], said: str) -> None:
    """No field of the identities can be altered alone, not even by the smallest amount."""
    run = busy_run()
    report = report_of(run)
    _change(path, change)(report)
    faults = check_identities(report, run.records())
    assert any(said in fault for fault in faults), faults


@pytest.mark.parametrize("damage", [{}, {"pnl_net": "NaN?"}, {"per_symbol": None}, {"orders": 3}, {"journal": []}])
def test_a_report_that_cannot_be_read_is_a_fault_and_no_crash(damage: dict[str, Any]) -> None:
    """`verify` says what is wrong with any file."""
    run = busy_run()
    report = {**report_of(run), **damage} if damage else {}
    (fault,) = check_identities(report, run.records())
    assert fault.startswith("the report cannot be read")


def test_deleted_market_data_are_not_held_against_a_report() -> None:
    """The disk budget takes old market records; everything else must still agree."""
    run = busy_run()
    report = report_of(run)
    records = run.records()
    records["market.quote"] -= 100
    assert check_identities(report, records) != []
    assert check_identities(report, records, is_market_complete=False) == []


def test_a_fill_told_twice_keeps_the_identities() -> None:
    """The journal has two records of one fill; the report counts one fill and one duplicate."""
    run = SmallRun(Sequel({1: (buy(20),)})).feed(wave(4))
    fill = next(event for _, event in run.journal if event.__struct_config__.tag == "order.filled")
    run.take(msgspec.structs.replace(fill, ts_ns=run.desk.state.now_ns))
    report = report_of(run)
    assert (report["orders"]["filled"], report["orders"]["duplicate_fills"]) == (1, 1)
    assert check_identities(report, run.records()) == []


def test_trades_and_win_rate_count_round_trips() -> None:
    """Bought low and sold high once, then the other way round: one win in two trades."""
    script = Sequel({1: (buy(200),), 4: (sell(200),), 7: (buy(200),), 10: (sell(200),)})
    prices = {0: 50_000.0, 3: 50_500.0, 9: 50_000.0}
    steps = (max(at for at in prices if at <= tick / 10) for tick in range(130))
    run = SmallRun(script).feed(quote(tick / 10, prices[step]) for tick, step in enumerate(steps))
    report = report_of(run)
    assert (report["trades"], report["wins"], report["win_rate"]) == (2, 1, 0.5)
    assert report["max_drawdown_fraction"] > 0.009


def test_a_run_without_trades_has_no_win_rate_and_no_percentiles() -> None:
    """Nothing measured is null, never zero."""
    report = report_of(SmallRun(interval_s=60).feed([quote(0.5, 50_000.0)]))
    assert report["win_rate"] is None
    assert report["sharpe"] is None
    assert report["latency_ms"]["decision_to_ack"] == {"p50": None, "p99": None, "samples": 0}
    assert report["loop_lag_ms_p99"] is None
    assert report["rss_mb_max"] is None


def test_a_run_without_an_end_is_not_flat() -> None:
    """After a crash nobody has confirmed anything; what is believed open is listed."""
    run = SmallRun(Sequel({1: (buy(20),), 3: (buy(10),)})).feed(wave(3.2))
    report = report_of(run, exit_code=8, fault="ZeroDivisionError")
    assert (report["status"], report["exit_code"], report["flat"]) == ("failed", 8, False)
    assert (report["stopped_reason"], report["end_detail"]) == ("bug", "ZeroDivisionError")
    assert "position BTCUSDT 20 lots" in report["residual"]
    assert any(item.startswith("open order t-") for item in report["residual"])
    assert check_identities(report, run.records()) == []


def test_a_fault_after_the_end_overrules_a_good_end() -> None:
    """A run that ended well but whose journal could not be closed did not succeed."""
    report = report_of(busy_run(), exit_code=7, fault="No space left on device")
    assert (report["status"], report["exit_code"], report["stopped_reason"]) == ("failed", 7, "disk")
    assert report["end_detail"] == "No space left on device"
    assert report["flat"] is True


def test_what_is_left_open_is_in_the_report() -> None:
    """A second signal ends a run at once: not flat, with the position and the order that are left."""
    run = SmallRun(Sequel({1: (buy(20),), 3: (buy(10),)})).feed(wave(3.2))
    run.take(OperatorCommand(ts_ns=run.desk.state.now_ns, command="force", reason="SIGINT"))
    report = report_of(run)
    assert (report["flat"], report["exit_code"], report["stopped_reason"]) == (False, 6, "interrupt")
    assert "position BTCUSDT 20 lots" in report["residual"]
    assert check_identities(report, run.records()) == []
