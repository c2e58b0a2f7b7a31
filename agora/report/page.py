"""The files of a report, above all report.html: no network, and no JavaScript for anything but its plots.

Everything a run recorded is text here, never markup: it is escaped, and the page's policy runs no script but
the two that belong to it and loads nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from agora.report.collector import Collector, Plots
from agora.report.figures import Figure, figures
from agora.report.metrics import CSV_NAME, JSON_NAME, json_pieces
from agora.report.sheet import bullets, escaped, fact, pairs, panel, plots, replace_private, sheet, table

Report = Mapping[str, Any]

REPORT_NAME = "final_report.json"
PAGE_NAME = "report.html"


def write_report(folder: Path, collector: Collector, report: Report) -> None:
    """final_report.json, metrics.json and report.html, 0600, in this order; raises `OSError`.

    Closes the collector first, so that metrics.csv is complete.
    """
    collector.close()
    text = msgspec.json.format(msgspec.json.encode(report), indent=2)
    replace_private(folder / REPORT_NAME, [text, b"\n"])
    replace_private(folder / JSON_NAME, json_pieces(folder / CSV_NAME))
    replace_private(folder / PAGE_NAME, pieces(report, collector.plots()))


def render(report: Report, plots: Plots) -> str:
    """The whole page as text."""
    return b"".join(pieces(report, plots)).decode()


def pieces(report: Report, plots_: Plots) -> Iterator[bytes]:
    """The page piece by piece."""
    drawn = figures(plots_, report)
    return sheet(f"Agora run {report['run_id']}", _body(report, drawn), drawn)


def _body(report: Report, drawn: Sequence[Figure]) -> str:
    """Headline first, then the plots, then the tables that explain both."""
    return "\n".join(
        (
            _headline(report),
            "<main>",
            _summary(report),
            _residual(report),
            plots(drawn),
            _results(report),
            f'<div class="grid">{_orders(report)}{_feed(report)}{_breakers(report)}{_timing(report)}</div>',
            _assumptions(report),
            "</main>",
            _provenance(report),
        )
    )


# Parts, from the top of the page.


def _headline(report: Report) -> str:
    is_good = report["status"] == "completed" and report["flat"]
    flat = ("good", "flat") if report["flat"] else ("", "not flat")
    reason = f"ended by {report['stopped_reason']}"
    badges = (
        (("good" if is_good else ""), report["status"]),
        flat,
        (("good" if is_good else ""), reason),
        (("good" if report["exit_code"] == 0 else ""), f"exit code {report['exit_code']}"),
    )
    shown = "".join(f'<span class="badge {tone}">{escaped(words)}</span>' for tone, words in badges)
    detail = f'<p class="quiet">{escaped(report["end_detail"])}</p>' if report["end_detail"] else ""
    return (
        f"<header><h1>{escaped(report['run_id'])}</h1>"
        f'<p class="quiet">{escaped(report["mode"])} run on {escaped(report["venue"])}, '
        f"{escaped(', '.join(report['traders']))} on {escaped(', '.join(report['symbols']))}, "
        f"{escaped(report['started_at'])} to {escaped(report['ended_at'])}</p>"
        f'<div class="badges">{shown}</div>{detail}</header>'
    )


def _summary(report: Report) -> str:
    currency = escaped(report["quote_currency"])
    net = str(report["pnl_net"])
    facts = (
        ("Equity at start", report["equity_start"]),
        ("Equity at end", report["equity_end"]),
        ("Trades", report["trades"]),
        ("Win rate", _percent(report["win_rate"])),
        ("Largest drawdown", _percent(report["max_drawdown_fraction"])),
        (f"Sharpe ratio ({report['sharpe_period']} returns)", _number(report["sharpe"])),
        ("Duration", _duration(report["duration_s"])),
        ("Decisions", report["decisions"]),
    )
    return (
        '<section class="panel headline" aria-label="Result"><div><p class="quiet">Net profit</p>'
        f'<p class="net {_tone(net)}">{_signed(net)} <small>{currency}</small></p>'
        f'<p class="sum"><span>= gross <b>{escaped(report["pnl_gross"])}</b></span>'
        f"<span>− fees <b>{escaped(report['fees'])}</b></span>"
        f"<span>+ funding <b>{escaped(report['funding'])}</b></span></p>"
        f'<p class="quiet">realised {escaped(report["realised"])}, open {escaped(report["unrealised"])}; '
        f"slippage paid {escaped(report['slippage'])}, inside gross</p></div>"
        f'<dl class="facts">{"".join(fact(*pair) for pair in facts)}</dl></section>'
    )


def _residual(report: Report) -> str:
    if not report["residual"]:
        return ""
    return panel("What is left open", bullets(report["residual"]))


def _results(report: Report) -> str:
    columns = ("fills", "trades", "wins", "realised", "fees", "funding", "net")
    tables = (
        table((key, *columns), ((row[key], *(row[name] for name in columns)) for row in report[part]))
        for key, part in (("symbol", "per_symbol"), ("trader", "per_trader"))
    )
    return panel("Results per symbol and trader", "".join(tables))


def _orders(report: Report) -> str:
    counts = [(name.replace("_", " "), count) for name, count in report["orders"].items()]
    refused = [(f"refused by {rule}", count) for rule, count in report["refusals"].items()]
    return panel("Orders", pairs([*counts, *refused]))


def _feed(report: Report) -> str:
    names = (
        ("market events", "market_events"),
        ("warm-up events", "history_events"),
        ("funding rates", "funding_rates"),
        ("malformed, dropped", "malformed"),
        ("dropped because we were late", "overflow_dropped"),
        ("gaps", "gaps"),
        ("gaps backfilled", "gaps_backfilled"),
        ("reconnects", "reconnects"),
        ("errors", "errors"),
    )
    reasons = [(f"malformed: {reason}", count) for reason, count in report["malformed_by_reason"].items()]
    return panel("Market data", pairs([*((name, report[key]) for name, key in names), *reasons]))


def _breakers(report: Report) -> str:
    rows = [
        (f"{trip['breaker']} at {trip['at']}", f"{trip['value']} (limit {trip['limit']})")
        for trip in report["breakers"]
    ]
    inside = pairs(rows) if rows else "<p>None was tripped.</p>"
    return panel("Breakers", inside)


def _timing(report: Report) -> str:
    latency = report["latency_ms"]
    rows = [
        (f"{name.replace('_', ' ')}, {mark}", _milliseconds(latency[name][mark]))
        for name in ("event_to_decision", "decision_to_ack")
        for mark in ("p50", "p99")
    ]
    rows += [
        ("loop lag, p99", _milliseconds(report["loop_lag_ms_p99"])),
        ("memory, highest", "–" if report["rss_mb_max"] is None else f"{report['rss_mb_max']} MB"),
    ]
    return panel("Timing and memory", pairs(rows))


def _assumptions(report: Report) -> str:
    return panel("What these figures assume", bullets(report["assumptions"]))


def _provenance(report: Report) -> str:
    facts = (
        ("Agora", report["version"]),
        ("seed", report["seed"]),
        ("configuration", report["config_hash"]),
        ("journal records", report["journal"]["records"]),
        ("journal head", report["journal"]["head_hash"]),
        ("state", report["state_hash"]),
    )
    rows = "".join(f"<tr><th>{escaped(name)}</th><td><code>{escaped(value)}</code></td></tr>" for name, value in facts)
    return (
        '<footer><section class="panel"><h2>Where this comes from</h2><div class="scroll">'
        f'<table class="pairs">{rows}</table></div></section></footer>'
    )


def _tone(money: str) -> str:
    if money.startswith("-"):
        return "fall"
    return "rise" if money.strip("0.") else ""


def _signed(money: str) -> str:
    return escaped(money.replace("-", "−") if money.startswith("-") else f"+{money}")


def _percent(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:.4g} %"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g} ms"


def _duration(seconds: float) -> str:
    """Days, hours, minutes and seconds, without leading zeros."""
    rest = round(seconds)
    parts: list[str] = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        count, rest = divmod(rest, length)
        if count or parts:
            parts.append(f"{count} {unit}")
    return " ".join([*parts, f"{rest} s"])
