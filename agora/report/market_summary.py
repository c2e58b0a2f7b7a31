"""final_report.json of a market run, and the identities that it must have with the journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from agora.domain.numbers import NS_PER_S, money_text
from agora.market.market import Market
from agora.market.shown import agents_body
from agora.report.market_collector import MarketCollector
from agora.report.metrics import utc_text

LLM_INPUTS = ("llm.answered", "llm.timed_out", "llm.failed")


class MarketMeta(msgspec.Struct, frozen=True, kw_only=True):
    """What a report says besides what market and collector know."""

    run_id: str
    seed: int
    config_hash: str
    version: str
    assumptions: tuple[str, ...]
    journal_records: int
    head_hash: str
    exit_code: int | None = None
    fault: str = ""


def build(collector: MarketCollector, market: Market, meta: MarketMeta) -> dict[str, Any]:
    """The report of a market run, complete or as far as it came."""
    state, ended = market.state, collector.ended
    exit_code = meta.exit_code if meta.exit_code is not None else (ended.exit_code if ended else 8)
    is_idle = exit_code == 0 and (state.tick == 0 or state.trades == 0)
    outcomes: Counter[str] = Counter()
    for seat in state.seats:
        outcomes.update(seat.outcomes)
    return {
        "run_id": meta.run_id,
        "status": "failed" if is_idle or ended is None or meta.fault else ended.status,
        "exit_code": 5 if is_idle else exit_code,
        "stopped_reason": state.end_reason or "the run did not end in order",
        "end_detail": meta.fault or ("nothing was traded" if is_idle else ""),
        "flat": True,
        "residual": [] if ended else ["the run did not end in order: agora market --resume takes it up"],
        "started_at": utc_text(state.start_ns),
        "ended_at": utc_text(state.now_ns),
        "duration_s": round((state.now_ns - state.start_ns) / NS_PER_S, 3),
        "venue": "market",
        "mode": "market",
        "traders": sorted({seat.persona for seat in market.seats}),
        "symbols": list(market.engine.rules.symbols),
        "quote_currency": market.engine.accounts.instrument(market.engine.rules.symbols[0]).quote,
        "seed": meta.seed,
        "config_hash": meta.config_hash,
        "version": meta.version,
        "ticks": state.tick,
        "trades": state.trades,
        "per_symbol": _per_symbol(collector, market),
        "agents": agents_body(market),
        "news": collector.news,
        "shocks": collector.shocks,
        "llm": {
            "asked": collector.asked,
            "outcomes": dict(sorted(outcomes.items())),
            "input_tokens": state.input_tokens,
            "output_tokens": state.output_tokens,
            "cost": money_text(state.cost_units),
        },
        "requests": sum(seat.requests for seat in state.seats),
        "refused": sum(seat.refused for seat in state.seats),
        "trades_digest": state.digest,
        "loop_lag_ms_p99": collector.loop_lag.percentile(0.99),
        "rss_mb_max": collector.rss_mb_max,
        "journal": {"records": meta.journal_records, "head_hash": meta.head_hash},
        "state_hash": market.state_hash(),
        "assumptions": list(meta.assumptions),
    }


def _per_symbol(collector: MarketCollector, market: Market) -> list[dict[str, Any]]:
    rows = []
    for symbol in market.engine.rules.symbols:
        instrument = market.engine.accounts.instrument(symbol)
        points = collector.prices[symbol].points() if symbol in collector.prices else []
        rows.append(
            {
                "symbol": symbol,
                "price_start": instrument.price_text(collector.first_ticks.get(symbol, 0)),
                "price_end": instrument.price_text(market.engine.book(symbol).last_ticks),
                "price_low": min((point.value for point in points), default=None),
                "price_high": max((point.value for point in points), default=None),
                "volume": instrument.size_text(collector.volumes_lots[symbol]),
            }
        )
    return rows


def check_market_identities(
    report: Mapping[str, Any], records: Mapping[str, int], *, is_market_complete: bool = True
) -> list[str]:
    """Every identity that does not hold, one sentence each; `records` is the journal's count per kind."""
    try:
        return list(_faults(report, records, is_market_complete=is_market_complete))
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        return [f"the report cannot be read: {type(fault).__name__}: {fault}"]


def _faults(report: Mapping[str, Any], records: Mapping[str, int], *, is_market_complete: bool) -> Iterator[str]:
    def differs(name: str, found: object, expected: object) -> Iterator[str]:
        if found != expected:
            yield f"{name} is {found}, the journal gives {expected}"

    yield from differs("ticks", report["ticks"], records.get("tick", 0))
    yield from differs("news", report["news"], records.get("news", 0))
    yield from differs("shocks", report["shocks"], records.get("shock", 0))
    yield from differs("llm.asked", report["llm"]["asked"], records.get("llm.asked", 0))
    yield from differs("llm.outcomes", sum(report["llm"]["outcomes"].values()), records.get("agent.decided", 0))
    if is_market_complete:
        yield from differs("ticks", report["ticks"], records.get("market.tick", 0))
        yield from differs("journal.records", report["journal"]["records"], sum(records.values()))
    if report["exit_code"] == 0 and not (report["ticks"] and report["trades"]):
        yield "exit code 0 without a tick or without a trade"
