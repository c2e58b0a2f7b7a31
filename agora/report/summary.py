"""final_report.json: what a run was, did and cost, from its desk and the collector that watched it.

Money is decimal text, exact; ratios and times are numbers. Also knows what must hold inside a report, and
between it and the journal it was made from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from agora.domain.errors import ExitCode
from agora.domain.numbers import NS_PER_S, money_text
from agora.domain.orders import OrderStatus
from agora.engine.desk import Desk
from agora.engine.state import State
from agora.report.collector import Collector
from agora.report.metrics import utc_text
from agora.report.series import Distribution
from agora.report.tallies import Tally, by_symbol, by_trader

HOW_MEASURED = (
    (
        "drawdown: largest fall of equity from its highest value so far, looked at once per second of the "
        "run's clock and after each fill and funding"
    ),
    (
        "latency percentiles: read from buckets 2 % wide; event_to_decision is the machine's time between "
        "the records of an event and of its decisions, decision_to_ack the run's time from intent to "
        "acknowledgement, bracket legs not counted"
    ),
    "slippage: money paid against the middle of the market at each fill, positive when against us",
)

# What a process that ended worse than its run ended with.
FAULT_REASONS: dict[int, str] = {ExitCode.JOURNAL_FAILURE: "disk", ExitCode.BUG: "bug"}

# Field of `orders` in the report -> journal kind with that many records.
ORDER_KINDS = {
    "intended": "order.intent",
    "sent": "order.sent",
    "accepted": "order.accepted",
    "rejected": "order.rejected",
    "refused": "order.refused",
    "cancelled": "order.cancelled",
    "expired": "order.expired",
}
MARKET_PREFIX = "market."


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """What a report says besides what desk and collector know.

    `exit_code` and `fault` are given when the process ends otherwise than the run decided (a journal that
    could not be written or closed, a crash). `journal_records` counts both chains.
    """

    run_id: str
    venue: str
    mode: str
    traders: tuple[str, ...]
    symbols: tuple[str, ...]
    seed: int
    config_hash: str
    version: str
    assumptions: tuple[str, ...]
    journal_records: int
    head_hash: str
    state_hash: str
    exit_code: int | None = None
    fault: str = ""


class _Ending(msgspec.Struct, frozen=True):
    status: str
    reason: str
    exit_code: int
    flat: bool
    residual: tuple[str, ...]


def build(collector: Collector, desk: Desk, meta: Meta) -> dict[str, Any]:
    """The report of a run, complete or as far as it came; fields and identities as the manual lists them."""
    state = desk.state
    ending = _ending(desk, meta)
    return {
        "run_id": meta.run_id,
        "status": ending.status,
        "exit_code": ending.exit_code,
        "stopped_reason": ending.reason,
        "end_detail": meta.fault or collector.end_detail(state.end_reason),
        "flat": ending.flat,
        "residual": list(ending.residual),
        "started_at": utc_text(state.started_ts_ns),
        "ended_at": utc_text(state.now_ns),
        "duration_s": round((state.now_ns - state.started_ts_ns) / NS_PER_S, 3),
        "venue": meta.venue,
        "mode": meta.mode,
        "traders": list(meta.traders),
        "symbols": list(meta.symbols),
        "quote_currency": _quote_currency(desk),
        "seed": meta.seed,
        "config_hash": meta.config_hash,
        "version": meta.version,
        **_money(collector, desk),
        **_performance(collector, state),
        "per_trader": [_tally(name, tally, key="trader") for name, tally in by_trader(desk).items()],
        "per_symbol": [_tally(name, tally, key="symbol") for name, tally in by_symbol(desk).items()],
        "orders": _orders(collector, state),
        "refusals": dict(sorted(state.refusals.items())),
        "breakers": [
            {"breaker": trip.breaker, "value": trip.value, "limit": trip.limit, "at": utc_text(trip.ts_ns)}
            for trip in collector.trips
        ],
        **_feed(state),
        "latency_ms": {
            "event_to_decision": _percentiles(collector.decision_latency),
            "decision_to_ack": _percentiles(collector.ack_latency),
        },
        "loop_lag_ms_p99": collector.loop_lag.percentile(0.99),
        "rss_mb_max": collector.rss_mb_max,
        "journal": {"records": meta.journal_records, "head_hash": meta.head_hash},
        "state_hash": meta.state_hash,
        "assumptions": [*meta.assumptions, *HOW_MEASURED],
    }


def _ending(desk: Desk, meta: Meta) -> _Ending:
    """What the run decided, unless the process ended worse; a run without a last decision is not flat."""
    if desk.state.ended is not None:
        decided = _Ending(*desk.state.ended)
        if meta.exit_code is None or meta.exit_code == decided.exit_code:
            return decided
        reason = FAULT_REASONS.get(meta.exit_code, decided.reason)
        return msgspec.structs.replace(decided, status="failed", reason=reason, exit_code=meta.exit_code)
    code = ExitCode.NOT_FLAT if meta.exit_code is None else meta.exit_code
    reason = desk.state.end_reason or FAULT_REASONS.get(code, "no_end")
    positions = (
        f"position {symbol} {holding.position.size_lots} lots"
        for symbol, holding in sorted(desk.state.holdings.items())
        if holding.position.size_lots
    )
    orders = (f"open order {client_id}" for client_id in desk.state.working)
    residual = ("the run did not end in order: the venue did not confirm", *positions, *orders)
    return _Ending("failed", reason, int(code), flat=False, residual=residual)


def _quote_currency(desk: Desk) -> str:
    return ", ".join(sorted({instrument.quote for instrument in desk.rules.instruments.values()}))


def _money(collector: Collector, desk: Desk) -> dict[str, str]:
    """Integer money as text: net = gross - fees + funding = end - start, to the last digit.

    Both sides are computed on their own, so that `check_identities` would see a leak that a bug made.
    """
    state = desk.state
    ledger, equity_units = state.ledger, desk.equity_units()
    unrealised_units = equity_units - ledger.cash
    gross_units = ledger.realised + unrealised_units
    return {
        "equity_start": money_text(state.equity_start_units),
        "equity_end": money_text(equity_units),
        "pnl_gross": money_text(gross_units),
        "pnl_net": money_text(gross_units - ledger.fees + ledger.funding),
        "realised": money_text(ledger.realised),
        "unrealised": money_text(unrealised_units),
        "fees": money_text(ledger.fees),
        "funding": money_text(ledger.funding),
        "slippage": money_text(collector.slippage_units),
    }


def _performance(collector: Collector, state: State) -> dict[str, Any]:
    trades, wins = state.counters.trades, state.counters.wins
    sharpe, period = collector.statistics.sharpe(state.now_ns)
    return {
        "trades": trades,
        "wins": wins,
        "win_rate": round(wins / trades, 6) if trades else None,
        "max_drawdown_fraction": round(collector.statistics.max_drawdown_fraction, 8),
        "sharpe": sharpe,
        "sharpe_period": period,
        "liquidations": collector.liquidations,
    }


def _tally(name: str, tally: Tally, *, key: str) -> dict[str, Any]:
    return {
        key: name,
        "fills": tally.fills,
        "trades": tally.trades,
        "wins": tally.wins,
        "realised": money_text(tally.realised_units),
        "unrealised": money_text(tally.unrealised_units),
        "fees": money_text(tally.fees_units),
        "funding": money_text(tally.funding_units),
        "net": money_text(tally.net_units),
    }


def _orders(collector: Collector, state: State) -> dict[str, int]:
    """Orders as the journal counts its records; a fill told twice is one fill and one duplicate."""
    counts = collector.counts
    return {
        "intended": counts["intended"],
        "sent": counts["sent"],
        "accepted": counts["accepted"],
        "rejected": counts["rejected"],
        "refused": counts["refused"],
        "filled": state.counters.filled,
        "duplicate_fills": state.counters.duplicate_fills,
        "cancelled": counts["cancelled"],
        "expired": counts["expired"],
        "unknown_now": sum(order.status is OrderStatus.UNKNOWN for order in state.working.values()),
    }


def _feed(state: State) -> dict[str, Any]:
    counters = state.counters
    return {
        "decisions": counters.decisions,
        "market_events": counters.market_events,
        "history_events": counters.history_events,
        "funding_rates": counters.funding_rates,
        "malformed": counters.malformed,
        "malformed_by_reason": dict(sorted(state.malformed.items())),
        "overflow_dropped": counters.overflow_dropped,
        "reconnects": counters.reconnects,
        "gaps": counters.gaps,
        "gaps_backfilled": counters.backfills,
        "user_connections": counters.user_connections,
        "reconciles": counters.reconciles,
        "errors": counters.errors,
    }


def _percentiles(latency: Distribution) -> dict[str, float | int | None]:
    return {"p50": latency.percentile(0.5), "p99": latency.percentile(0.99), "samples": latency.count}


# What `agora verify` checks.


def check_identities(
    report: Mapping[str, Any], records: Mapping[str, int], *, is_market_complete: bool = True
) -> list[str]:
    """Every identity that does not hold, one sentence each; `records` is the journal's count per kind.

    `is_market_complete` is false when old market data were deleted to keep the disk budget: their counts are
    then not compared.
    """
    try:
        faults = [*_money_faults(report), *_count_faults(report, records), *_ending_faults(report)]
        if is_market_complete:
            faults += _market_faults(report, records)
    except (KeyError, TypeError, ValueError, AttributeError, InvalidOperation) as fault:
        return [f"the report cannot be read: {type(fault).__name__}: {fault}"]
    return faults


def _money_faults(report: Mapping[str, Any]) -> Iterator[str]:
    gross, net, fees, funding = (Decimal(report[key]) for key in ("pnl_gross", "pnl_net", "fees", "funding"))
    if net != gross - fees + funding:
        yield f"pnl_net {net} is not pnl_gross {gross} - fees {fees} + funding {funding}"
    start, end = Decimal(report["equity_start"]), Decimal(report["equity_end"])
    if net != end - start:
        yield f"pnl_net {net} is not equity_end {end} - equity_start {start}"
    realised, unrealised = Decimal(report["realised"]), Decimal(report["unrealised"])
    if gross != realised + unrealised:
        yield f"pnl_gross {gross} is not realised {realised} + unrealised {unrealised}"
    for part in ("per_symbol", "per_trader"):
        for field in ("fees", "funding"):
            total = sum((Decimal(row[field]) for row in report[part]), Decimal(0))
            yield from _differs(f"{part} {field}", total, Decimal(report[field]))
        total = sum((Decimal(row["realised"]) + Decimal(row["unrealised"]) for row in report[part]), Decimal(0))
        yield from _differs(f"{part} realised + unrealised", total, gross)


def _count_faults(report: Mapping[str, Any], records: Mapping[str, int]) -> Iterator[str]:
    orders = report["orders"]
    for field, kind in ORDER_KINDS.items():
        yield from _differs(f"orders.{field}", orders[field], records.get(kind, 0), other=f"{kind} records")
    filled = orders["filled"] + orders["duplicate_fills"]
    yield from _differs(
        "orders.filled + duplicate_fills", filled, records.get("order.filled", 0), other="order.filled records"
    )
    yield from _differs("position records", records.get("position", 0), orders["filled"], other="orders.filled")
    yield from _differs("decisions", report["decisions"], records.get("decision", 0), other="decision records")
    errors = records.get("error", 0) + records.get("feed.lost", 0)
    yield from _differs("errors", report["errors"], errors, other="error and feed.lost records")
    yield from _differs("refusals", sum(report["refusals"].values()), orders["refused"], other="orders.refused")
    malformed = sum(report["malformed_by_reason"].values())
    yield from _differs("malformed_by_reason", malformed, report["malformed"], other="malformed")
    for part in ("per_symbol", "per_trader"):
        for field, total in (
            ("fills", orders["filled"]),
            ("trades", report["trades"]),
            ("wins", report["wins"]),
        ):
            yield from _differs(f"{part} {field}", sum(row[field] for row in report[part]), total)


def _ending_faults(report: Mapping[str, Any]) -> Iterator[str]:
    if report["flat"] != (not report["residual"]):
        yield f"flat is {report['flat']} with residual {report['residual']}"
    if report["flat"] and report["orders"]["unknown_now"]:
        yield f"flat with {report['orders']['unknown_now']} orders in doubt"
    if report["exit_code"] == 0 and not (report["flat"] and report["market_events"] and report["decisions"]):
        yield "exit code 0 without being flat, having received data and made decisions"


def _market_faults(report: Mapping[str, Any], records: Mapping[str, int]) -> Iterator[str]:
    recorded = sum(count for kind, count in records.items() if kind.startswith(MARKET_PREFIX))
    seen = report["market_events"] + report["history_events"] + report["funding_rates"]
    yield from _differs("market_events + history_events + funding_rates", seen, recorded, other="market records")
    yield from _differs(
        "journal.records", report["journal"]["records"], sum(records.values()), other="records in the journal"
    )


def _differs(name: str, found: object, expected: object, *, other: str = "the total") -> Iterator[str]:
    if found != expected:
        yield f"{name} is {found}, {other}: {expected}"
