"""The files of a report, above all report.html: no network, and no JavaScript for anything but its plots.

Everything a run recorded is text here, never markup: it is escaped, and the page's policy runs no script but
the two that belong to it and loads nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from agora.report.collector import Collector, Plots
from agora.report.figures import Figure, figures
from agora.report.metrics import CSV_NAME, JSON_NAME, json_pieces

Report = Mapping[str, Any]

REPORT_NAME = "final_report.json"
PAGE_NAME = "report.html"
# Reasons come from outside; a page shows this many of each kind, the report has them all.
ROWS_MAX = 200


def write_report(folder: Path, collector: Collector, report: Report) -> None:
    """final_report.json, metrics.json and report.html, 0600, in this order; raises `OSError`.

    Closes the collector first, so that metrics.csv is complete.
    """
    collector.close()
    text = msgspec.json.format(msgspec.json.encode(report), indent=2)
    replace_private(folder / REPORT_NAME, [text, b"\n"])
    replace_private(folder / JSON_NAME, json_pieces(folder / CSV_NAME))
    replace_private(folder / PAGE_NAME, pieces(report, collector.plots()))


def replace_private(path: Path, content: Iterable[bytes]) -> None:
    """Put a file in place at once, durably, readable by its owner only; on `OSError` the old one stays."""
    draft = path.with_name(f".{path.name}.draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        for piece in content:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def render(report: Report, plots: Plots) -> str:
    """The whole page as text."""
    return b"".join(pieces(report, plots)).decode()


def pieces(report: Report, plots: Plots) -> Iterator[bytes]:
    """The page piece by piece: the plotting library alone is 5 MB."""
    library, script = _plotting_library(), _own_file("page.js")
    drawn = figures(plots, report)
    yield _head(report, (library, script)).encode()
    yield _body(report, drawn).encode()
    yield b'<script type="application/json" id="figures">' + _figures_json(drawn) + b"</script>\n<script>"
    yield library
    yield b"</script>\n<script>" + script + b"</script>\n</body>\n</html>\n"


def _plotting_library() -> bytes:
    """Plotly's own script, as it can stand inside a page."""
    script = (files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    return _inline(script)


def _own_file(name: str) -> bytes:
    return _inline((files("agora.report") / name).read_bytes())


def _inline(script: bytes) -> bytes:
    """A script that no end tag cuts short, with the line ends that a browser hashes."""
    return script.replace(b"\r\n", b"\n").replace(b"</script", b"<\\/script")


def _policy(scripts: Iterable[bytes]) -> str:
    """Nothing is loaded, only these scripts run. Plotly needs inline styles, and images to save a plot."""
    hashes = (base64.b64encode(hashlib.sha256(script).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _figures_json(drawn: Sequence[Figure]) -> bytes:
    """The plots as JSON in which no character can end the element that holds it."""
    listed = [
        {"place": place, "traces": figure.traces, "layout": figure.layout}
        for place, figure in enumerate(drawn)
        if figure.traces
    ]
    text = json.dumps(listed, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026").encode()


def _head(report: Report, scripts: Iterable[bytes]) -> str:
    style = _own_file("page.css").decode()
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(scripts)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>Agora run {_text(report['run_id'])}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
    )


def _body(report: Report, drawn: Sequence[Figure]) -> str:
    """Headline first, then the plots, then the tables that explain both."""
    return "\n".join(
        (
            _headline(report),
            "<main>",
            _summary(report),
            _residual(report),
            _plots(drawn),
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
    shown = "".join(f'<span class="badge {tone}">{_text(words)}</span>' for tone, words in badges)
    detail = f'<p class="quiet">{_text(report["end_detail"])}</p>' if report["end_detail"] else ""
    return (
        f"<header><h1>{_text(report['run_id'])}</h1>"
        f'<p class="quiet">{_text(report["mode"])} run on {_text(report["venue"])}, '
        f"{_text(', '.join(report['traders']))} on {_text(', '.join(report['symbols']))}, "
        f"{_text(report['started_at'])} to {_text(report['ended_at'])}</p>"
        f'<div class="badges">{shown}</div>{detail}</header>'
    )


def _summary(report: Report) -> str:
    currency = _text(report["quote_currency"])
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
        f'<p class="sum"><span>= gross <b>{_text(report["pnl_gross"])}</b></span>'
        f"<span>− fees <b>{_text(report['fees'])}</b></span>"
        f"<span>+ funding <b>{_text(report['funding'])}</b></span></p>"
        f'<p class="quiet">realised {_text(report["realised"])}, open {_text(report["unrealised"])}; '
        f"slippage paid {_text(report['slippage'])}, inside gross</p></div>"
        f'<dl class="facts">{"".join(_fact(*fact) for fact in facts)}</dl></section>'
    )


def _fact(name: str, value: object) -> str:
    return f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>"


def _residual(report: Report) -> str:
    if not report["residual"]:
        return ""
    return _panel("What is left open", _list(report["residual"]))


def _plots(drawn: Sequence[Figure]) -> str:
    needs = '<noscript><p class="panel">The plots need JavaScript; every figure is in the tables.</p></noscript>'
    return needs + '<div class="grid">' + "".join(_plot(*numbered) for numbered in enumerate(drawn)) + "</div>"


def _plot(place: int, figure: Figure) -> str:
    width = " wide" if figure.name.startswith("price-") else ""
    size = " auto" if "height" in figure.layout else ""
    target = f'<div class="plot{size}" id="plot-{place}" role="img" aria-label="{_text(figure.title)}"></div>'
    inside = target if figure.traces else f"<p>{_text(figure.empty)}</p>"
    note = f'<p class="quiet">{_text(figure.note)}</p>' if figure.traces else ""
    return f'<section class="panel{width}"><h2>{_text(figure.title)}</h2>{note}{inside}</section>'


def _results(report: Report) -> str:
    columns = ("fills", "trades", "wins", "realised", "fees", "funding", "net")
    tables = (
        _table((key, *columns), ((row[key], *(row[name] for name in columns)) for row in report[part]))
        for key, part in (("symbol", "per_symbol"), ("trader", "per_trader"))
    )
    return _panel("Results per symbol and trader", "".join(tables))


def _orders(report: Report) -> str:
    counts = [(name.replace("_", " "), count) for name, count in report["orders"].items()]
    refused = [(f"refused by {rule}", count) for rule, count in report["refusals"].items()]
    return _panel("Orders", _pairs([*counts, *refused]))


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
    return _panel("Market data", _pairs([*((name, report[key]) for name, key in names), *reasons]))


def _breakers(report: Report) -> str:
    rows = [
        (f"{trip['breaker']} at {trip['at']}", f"{trip['value']} (limit {trip['limit']})")
        for trip in report["breakers"]
    ]
    inside = _pairs(rows) if rows else "<p>None was tripped.</p>"
    return _panel("Breakers", inside)


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
    return _panel("Timing and memory", _pairs(rows))


def _assumptions(report: Report) -> str:
    return _panel("What these figures assume", _list(report["assumptions"]))


def _provenance(report: Report) -> str:
    facts = (
        ("Agora", report["version"]),
        ("seed", report["seed"]),
        ("configuration", report["config_hash"]),
        ("journal records", report["journal"]["records"]),
        ("journal head", report["journal"]["head_hash"]),
        ("state", report["state_hash"]),
    )
    rows = "".join(f"<tr><th>{_text(name)}</th><td><code>{_text(value)}</code></td></tr>" for name, value in facts)
    return (
        '<footer><section class="panel"><h2>Where this comes from</h2><div class="scroll">'
        f'<table class="pairs">{rows}</table></div></section></footer>'
    )


# Pieces of markup. Everything that is not a constant of this module goes through `_text`.


def _text(value: object) -> str:
    return escape(str(value), quote=True)


def _panel(title: str, inside: str) -> str:
    return f'<section class="panel"><h2>{_text(title)}</h2>{inside}</section>'


def _list(items: Sequence[object]) -> str:
    shown = "".join(f"<li>{_text(item)}</li>" for item in items[:ROWS_MAX])
    return f"<ul>{shown}{_rest(items, 'li')}</ul>"


def _rest(items: Sequence[object], tag: str) -> str:
    left = len(items) - ROWS_MAX
    return f"<{tag}>and {left} more, in final_report.json</{tag}>" if left > 0 else ""


def _pairs(rows: Sequence[tuple[str, object]]) -> str:
    shown = "".join(f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in rows[:ROWS_MAX])
    rest = f"<tr>{_rest(rows, 'td')}</tr>" if len(rows) > ROWS_MAX else ""
    return f'<div class="scroll"><table class="pairs">{shown}{rest}</table></div>'


def _table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    head = "".join(f"<th>{_text(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _tone(money: str) -> str:
    if money.startswith("-"):
        return "fall"
    return "rise" if money.strip("0.") else ""


def _signed(money: str) -> str:
    return _text(money.replace("-", "−") if money.startswith("-") else f"+{money}")


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
