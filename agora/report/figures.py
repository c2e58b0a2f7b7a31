"""The plots of a report as plain Plotly figures: traces and layouts in dicts, colours by name.

Knows no page and no theme; `page.js` puts the colours of the theme in. Text that Plotly would read as markup
is escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import msgspec

from agora.domain.instruments import Instrument
from agora.domain.numbers import NS_PER_MS, money_text
from agora.report.collector import FillMark, Plots
from agora.report.series import FIRST_EDGE, Distribution, Point

# A histogram of more bars than this is a comb on a phone.
LATENCY_BARS_MAX = 48
# Rules that refused least are left to the table.
RULES_SHOWN = 12

# (is closing, side) -> legend, marker, colour. Shape and colour both tell them apart.
_FILL_STYLES: dict[tuple[bool, str], tuple[str, str, str]] = {
    (False, "buy"): ("enter long", "triangle-up", "tone:rise"),
    (False, "sell"): ("enter short", "triangle-down", "tone:fall"),
    (True, "sell"): ("leave long", "x", "tone:mark"),
    (True, "buy"): ("leave short", "cross", "tone:mark"),
}


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One plot of the page; without traces, `empty` is said instead."""

    name: str
    title: str
    note: str
    traces: list[dict[str, Any]]
    layout: dict[str, Any]
    empty: str = ""


def figures(plots: Plots, report: Mapping[str, Any]) -> list[Figure]:
    """All plots of a report, in the order of the page."""
    return [
        *(_price(plots, plots.instruments[symbol]) for symbol in sorted(plots.instruments)),
        _equity(plots.equity, str(report["quote_currency"])),
        _drawdown(plots.drawdown),
        _latency(plots),
        _refusals(report["refusals"]),
    ]


def _price(plots: Plots, instrument: Instrument) -> Figure:
    symbol = instrument.symbol
    points = plots.prices.get(symbol, [])
    fills = [fill for fill in plots.fills if fill.symbol == symbol]
    traces = [_line(points, name="price", tone="tone:line")] if points else []
    for (is_closing, side), style in _FILL_STYLES.items():
        chosen = [fill for fill in fills if fill.is_closing == is_closing and fill.side == side]
        if chosen:
            traces.append(_markers(chosen, instrument, style))
    left_out = plots.fills_left_out
    note = ("1 fill" if len(fills) == 1 else f"{len(fills)} fills") + (
        f", the {left_out} oldest fills of the run are not drawn" if left_out else ""
    )
    return Figure(
        name=f"price-{symbol}",
        title=f"Price of {symbol} with fills",
        note=note,
        traces=traces,
        layout={"yaxis": {"title": {"text": _plain(instrument.quote)}}, "showlegend": bool(fills)},
        empty="No price was seen.",
    )


def _line(points: Sequence[Point], *, name: str, tone: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [point.ts_ns // NS_PER_MS for point in points],
        "y": [_short(point.value) for point in points],
        "line": {"color": tone, "width": 1.5},
        "hoverinfo": "x+y",
    }


def _markers(fills: Iterable[FillMark], instrument: Instrument, style: tuple[str, str, str]) -> dict[str, Any]:
    name, symbol, tone = style
    chosen = list(fills)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [fill.ts_ns // NS_PER_MS for fill in chosen],
        "y": [float(instrument.price_text(fill.price_ticks)) for fill in chosen],
        "text": [_fill_text(fill, instrument) for fill in chosen],
        "hoverinfo": "text+x",
        "marker": {
            "symbol": symbol,
            "size": 10,
            "color": tone,
            "line": {"color": "tone:surface", "width": 1},
        },
    }


def _fill_text(fill: FillMark, instrument: Instrument) -> str:
    size, price = instrument.size_text(fill.size_lots), instrument.price_text(fill.price_ticks)
    lines = (
        f"{fill.purpose}: {fill.side} {size} at {price}",
        f"pnl after fee {money_text(fill.net_units)} {instrument.quote}",
        f"trader {fill.trader}",
    )
    return "<br>".join(_plain(line) for line in lines)


def _equity(points: Sequence[Point], currency: str) -> Figure:
    return Figure(
        name="equity",
        title="Equity",
        note="cash and open profit at the last good price",
        traces=[_line(points, name="equity", tone="tone:line")] if points else [],
        layout={"yaxis": {"title": {"text": _plain(currency)}}, "showlegend": False},
        empty="No equity was recorded.",
    )


def _drawdown(points: Sequence[Point]) -> Figure:
    percent = [Point(point.ts_ns, 100 * point.value) for point in points]
    area = _line(percent, name="drawdown", tone="tone:fall") | {
        "fill": "tozeroy",
        "fillcolor": "tone:fall-area",
    }
    return Figure(
        name="drawdown",
        title="Drawdown",
        note="fall from the highest equity so far",
        traces=[area] if points else [],
        layout={"yaxis": {"ticksuffix": " %", "rangemode": "tozero"}, "showlegend": False},
        empty="No equity was recorded.",
    )


def _latency(plots: Plots) -> Figure:
    samples = (
        ("event to decision", plots.decision_latency, "tone:line", "tone:line-area"),
        ("decision to acknowledgement", plots.ack_latency, "tone:mark", "tone:mark-area"),
    )
    traces = [_steps(name, latency, tone, area) for name, latency, tone, area in samples if latency.count]
    return Figure(
        name="latency",
        title="Latency",
        note="share of the samples in each bucket, in milliseconds on a logarithmic scale",
        traces=traces,
        layout={
            "xaxis": {"type": "log", "title": {"text": "ms"}},
            "yaxis": {"ticksuffix": " %", "rangemode": "tozero"},
            "showlegend": True,
        },
        empty="No decision and no acknowledgement was timed.",
    )


def _steps(name: str, latency: Distribution, *tones: str) -> dict[str, Any]:
    """A histogram drawn as a staircase: bars on a logarithmic axis have no width of their own."""
    bars = latency.bars(LATENCY_BARS_MAX)
    edges = [max(bar.low_ms, FIRST_EDGE / 2) for bar in bars]
    shares = [_short(100 * bar.count / latency.count) for bar in bars]
    labels = [f"{bar.low_ms:.4g} to {bar.high_ms:.4g} ms: {bar.count} of {latency.count}" for bar in bars]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [_short(edge) for edge in (edges[0], *edges, bars[-1].high_ms)],
        "y": [0, *shares, 0],
        "text": [labels[0], *labels, labels[-1]],
        "hoverinfo": "text+name",
        "line": {"shape": "hv", "color": tones[0], "width": 1.5},
        "fill": "tozeroy",
        "fillcolor": tones[1],
    }


def _refusals(refusals: Mapping[str, int]) -> Figure:
    most = sorted(refusals.items(), key=lambda item: (-item[1], item[0]))[:RULES_SHOWN]
    bars = {
        "type": "bar",
        "orientation": "h",
        "name": "refused",
        "x": [count for _, count in reversed(most)],
        "y": [_plain(rule) for rule, _ in reversed(most)],
        "marker": {"color": "tone:mark"},
        "hoverinfo": "x+y",
    }
    return Figure(
        name="refusals",
        title="Refused orders per rule",
        note="orders that a limit kept back",
        traces=[bars] if most else [],
        layout={
            "xaxis": {
                "type": "linear",
                "title": {"text": "orders"},
                "rangemode": "tozero",
                "tickformat": "d",
            },
            "yaxis": {"type": "category", "automargin": True},
            "showlegend": False,
            "height": 90 + 34 * len(most),
        },
        empty="No order was refused.",
    )


def _short(value: float) -> float:
    """Eight digits: more than a screen shows, and a third of the bytes."""
    return float(f"{value:.8g}") if math.isfinite(value) else 0.0


def _plain(text: str) -> str:
    """Text that Plotly shows as it is instead of reading tags and links in it."""
    return escape(text, quote=False)
