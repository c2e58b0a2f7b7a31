"""The files of a market run's report: final_report.json, metrics.json and report.html with the prices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from agora.domain.numbers import NS_PER_MS
from agora.report.figures import Figure
from agora.report.market_collector import MarketCollector
from agora.report.metrics import CSV_NAME, JSON_NAME, json_pieces, utc_text
from agora.report.page import PAGE_NAME, REPORT_NAME
from agora.report.series import Point
from agora.report.sheet import bullets, escaped, fact, pairs, panel, plots, replace_private, sheet, table

Report = Mapping[str, Any]


def write_market_report(folder: Path, collector: MarketCollector, report: Report) -> None:
    """final_report.json, metrics.json and report.html, 0600, in this order; raises `OSError`."""
    collector.close()
    text = msgspec.json.format(msgspec.json.encode(report), indent=2)
    replace_private(folder / REPORT_NAME, [text, b"\n"])
    replace_private(folder / JSON_NAME, json_pieces(folder / CSV_NAME))
    replace_private(folder / PAGE_NAME, market_pieces(report, collector))


def market_pieces(report: Report, collector: MarketCollector) -> Iterator[bytes]:
    """The page piece by piece."""
    drawn = [
        _price(symbol, series.points(), str(report["quote_currency"])) for symbol, series in collector.prices.items()
    ]
    return sheet(f"Agora market {report['run_id']}", _body(report, collector, drawn), drawn)


def _price(symbol: str, points: Sequence[Point], currency: str) -> Figure:
    trace = {
        "type": "scatter",
        "mode": "lines",
        "name": symbol,
        "x": [point.ts_ns // NS_PER_MS for point in points],
        "y": [point.value for point in points],
        "line": {"color": "tone:line", "width": 1.5},
        "hoverinfo": "x+y",
    }
    return Figure(
        name=f"price-{symbol}",
        title=f"Price of {symbol}",
        note=f"last price at the end of each tick, in {currency}",
        traces=[trace] if points else [],
        layout={"yaxis": {"title": {"text": escaped(currency)}}, "showlegend": False},
        empty="No tick was seen.",
    )


def _body(report: Report, collector: MarketCollector, drawn: Sequence[Figure]) -> str:
    return "\n".join(
        (
            _headline(report),
            "<main>",
            _summary(report),
            plots(drawn),
            _symbols(report),
            _agents(report),
            f'<div class="grid">{_models(report)}{_notables(collector)}</div>',
            panel("What these figures assume", bullets(report["assumptions"])),
            "</main>",
            _provenance(report),
        )
    )


def _headline(report: Report) -> str:
    tone = "good" if report["exit_code"] == 0 else ""
    words = (report["status"], f"ended by {report['stopped_reason']}", f"exit code {report['exit_code']}")
    badges = "".join(f'<span class="badge {tone}">{escaped(word)}</span>' for word in words)
    detail = f'<p class="quiet">{escaped(report["end_detail"])}</p>' if report["end_detail"] else ""
    return (
        f"<header><h1>{escaped(report['run_id'])}</h1>"
        f'<p class="quiet">a market of {len(report["agents"])} agents, '
        f"{escaped(report['started_at'])} to {escaped(report['ended_at'])} of its clock</p>"
        f'<div class="badges">{badges}</div>{detail}</header>'
    )


def _summary(report: Report) -> str:
    facts = (
        ("Ticks", report["ticks"]),
        ("Trades", report["trades"]),
        ("Requests of agents", report["requests"]),
        ("of them refused", report["refused"]),
        ("News", report["news"]),
        ("Shocks", report["shocks"]),
        ("Questions to models", report["llm"]["asked"]),
        ("Cost of models", report["llm"]["cost"]),
    )
    return (
        '<section class="panel headline" aria-label="Result">'
        f'<dl class="facts">{"".join(fact(*each) for each in facts)}</dl></section>'
    )


def _symbols(report: Report) -> str:
    columns = ("symbol", "price_start", "price_end", "price_low", "price_high", "volume")
    names = [name.replace("_", " ") for name in columns]
    return panel("Assets", table(names, ([row[name] for name in columns] for row in report["per_symbol"])))


def _agents(report: Report) -> str:
    columns = ("agent", "persona", "model", "initial capital", "total value", "total pnl", "roi", "trades")
    rows = (
        (
            agent["id"],
            agent["persona"],
            agent["model"] or "rules",
            f"{agent['portfolio']['initial_capital']:.2f}",
            f"{agent['portfolio']['total_value']:.2f}",
            f"{agent['portfolio']['total_pnl']:.2f}",
            f"{100 * agent['portfolio']['roi']:.2f} %",
            agent["portfolio"]["trades_count"],
        )
        for agent in report["agents"]
    )
    return panel("Agents", table(columns, rows))


def _models(report: Report) -> str:
    llm = report["llm"]
    rows = [(f"outcome {name}", count) for name, count in llm["outcomes"].items()]
    tokens = [("input tokens", llm["input_tokens"]), ("output tokens", llm["output_tokens"]), ("cost", llm["cost"])]
    return panel("Decisions of models", pairs([*rows, *tokens]) if llm["asked"] else "<p>No model was asked.</p>")


def _notables(collector: MarketCollector) -> str:
    rows = [(f"{utc_text(item.ts_ns)} {item.what}", item.text) for item in collector.notables]
    return panel("News and shocks", pairs(rows) if rows else "<p>None.</p>")


def _provenance(report: Report) -> str:
    facts = (
        ("Agora", report["version"]),
        ("seed", report["seed"]),
        ("configuration", report["config_hash"]),
        ("journal records", report["journal"]["records"]),
        ("journal head", report["journal"]["head_hash"]),
        ("trades", report["trades_digest"]),
        ("state", report["state_hash"]),
    )
    return f"<footer>{panel('Where this comes from', pairs(facts))}</footer>"
