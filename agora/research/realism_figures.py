"""The plots of a realism report: what each statistic saw, beside the law or the chance it is compared with.

Figures as `report.figures` defines them: plain Plotly, colours by name. Draws what the facts computed, judges nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from agora.report.figures import Figure
from agora.research import realism_returns as returns
from agora.research import realism_statistics as statistics
from agora.research import realism_trading as trading
from agora.research.realism_sample import MarketSample, impacts_of, magnitudes_of, returns_of, signs_of
from agora.research.realism_statistics import Floats, PowerLaw

# A plot 2,000 pixels wide shows no more.
POINTS_MAX = 2_000
# Two-sided 99 %, as the test's level.
BAND_ERRORS = 2.576
# Points of a law on a logarithmic axis, and means of neighbouring lags: forty a plot read as a curve.
CURVE_POINTS = 40


def figures(samples: Sequence[MarketSample]) -> list[Figure]:
    """All plots, in the order of the page."""
    return [
        _price(samples),
        _tails(samples),
        _scales(samples),
        _correlations(samples),
        _clustering(samples),
        _signs(samples),
        _impact(samples),
    ]


def _price(samples: Sequence[MarketSample]) -> Figure:
    closes = statistics.joined([sample.minute_closes() for sample in samples])
    every = max(1, math.ceil(len(closes) / POINTS_MAX))
    places = np.arange(0, len(closes), every, dtype=np.float64)
    return Figure(
        name="price-1min",
        title="Price",
        note=f"close of every {every} min" if every > 1 else "close of every minute",
        traces=[_line(places, closes[::every], name="price", tone="tone:line")] if len(closes) else [],
        layout=_layout("minutes, all samples in a row", "price"),
        empty="The sample is shorter than a minute.",
    )


def _tails(samples: Sequence[MarketSample]) -> Figure:
    values = statistics.joined(returns_of(samples))
    spread = float(values.std()) if len(values) else 0.0
    if spread <= 0:
        return _nothing("tails", "Tails of 1-minute returns", "The price did not move.")
    magnitudes = np.sort(np.abs(values - values.mean()) / spread)[::-1]
    # Below a tenth of a deviation there is no tail, and a logarithmic axis would spend its width there.
    large = int((magnitudes >= 0.1).sum())
    places = np.unique(np.geomspace(1, large, min(POINTS_MAX, large)).astype(int)) - 1
    reach = np.linspace(0.1, max(4.0, float(magnitudes[0])), CURVE_POINTS, dtype=np.float64)
    gaussian = np.array([2 * statistics.normal_tail(float(score)) for score in reach])
    seen = gaussian > 0.1 / len(magnitudes)
    traces = [
        _dots(magnitudes[places], (places + 1) / len(magnitudes), name="returns", tone="tone:line"),
        _line(reach[seen], gaussian[seen], name="Gaussian", tone="tone:mark"),
    ]
    layout = _layout("|return| in standard deviations", "share beyond", is_log=True)
    return Figure(
        name="tails",
        title="Tails of 1-minute returns",
        note="share of returns beyond each size; a power law is a straight line",
        traces=traces,
        layout=layout,
    )


def _scales(samples: Sequence[MarketSample]) -> Figure:
    scales = {minutes: value for minutes, value in returns.kurtosis_by_scale(samples).items() if math.isfinite(value)}
    bars = {
        "type": "bar",
        "name": "excess kurtosis",
        "x": [f"{minutes} min" for minutes in scales],
        "y": [_short(value) for value in scales.values()],
        "marker": {"color": "tone:line"},
    }
    layout = _layout("", "excess kurtosis") | {"xaxis": {"type": "category"}, "showlegend": False}
    return Figure(
        name="aggregation",
        title="Excess kurtosis by scale",
        note="a Gaussian has 0; it falls as returns are summed over longer times",
        traces=[bars] if scales else [],
        layout=layout,
        empty="The sample is too short.",
    )


def _correlations(samples: Sequence[MarketSample]) -> Figure:
    title = "Autocorrelation of 1-minute returns"
    found, errors = returns.correlations_with_errors(returns_of(samples))
    if not (np.isfinite(found).all() and np.isfinite(errors).all()):
        return _nothing("autocorrelation", title, "The price did not move, or the sample is too short.")
    lags = np.arange(1, len(found) + 1, dtype=np.float64)
    bars = {
        "type": "bar",
        "name": "autocorrelation",
        "x": _numbers(lags),
        "y": _numbers(found),
        "marker": {"color": "tone:line"},
    }
    edges = [_line(lags, side * BAND_ERRORS * errors, name="robust 99 % band", tone="tone:mark") for side in (1, -1)]
    edges[1]["showlegend"] = False
    return Figure(
        name="autocorrelation",
        title=title,
        note="the band of each lag holds under clustered volatility",
        traces=[bars, *edges],
        layout=_layout("lag, minutes", "autocorrelation"),
    )


def _clustering(samples: Sequence[MarketSample]) -> Figure:
    magnitudes = magnitudes_of(samples)
    found = statistics.autocorrelations(magnitudes, returns.DECAY_LAGS)
    law = returns.clustering_law(magnitudes)
    return _memory("clustering", "Autocorrelation of 1-minute |returns|", (found, law, 1))


def _signs(samples: Sequence[MarketSample]) -> Figure:
    signs = signs_of(samples)
    found = statistics.autocorrelations(signs, trading.SIGN_LAG_LAST, mean=0.0)
    return _memory("signs", "Autocorrelation of order signs", (found, trading.sign_law(signs), trading.SIGN_LAG_FIRST))


def _memory(name: str, title: str, seen: tuple[Floats, PowerLaw, int]) -> Figure:
    """Autocorrelations, averaged over neighbouring lags, with the law fitted from a first lag on."""
    found, law, first = seen
    lags, means = _octave_means(found)
    if not (means > 0).any():
        return _nothing(name, title, "No autocorrelation is positive.")
    traces = [_dots(lags[means > 0], means[means > 0], name="mean of neighbouring lags", tone="tone:line")]
    note = "no power law fits"
    if math.isfinite(law.exponent):
        reach = np.geomspace(first, len(found), CURVE_POINTS, dtype=np.float64)
        traces.append(_line(reach, law.scale * reach**law.exponent, name="fitted power law", tone="tone:mark"))
        note = f"fitted from lag {first}: exponent {-law.exponent:.2f}"
    return Figure(
        name=name,
        title=title,
        note=note,
        traces=traces,
        layout=_layout("lag", "autocorrelation", is_log=True),
    )


def _octave_means(found: Floats) -> tuple[Floats, Floats]:
    """Mean lag and mean autocorrelation in bins of equal width in log lag."""
    lags = np.arange(1, len(found) + 1, dtype=np.float64)
    place = np.digitize(lags, np.geomspace(1, len(found) + 1, CURVE_POINTS + 1))
    known = np.isfinite(found)
    bins = [(place == number) & known for number in np.unique(place)]
    rows = [(float(lags[inside].mean()), float(found[inside].mean())) for inside in bins if inside.any()]
    columns = np.array(rows, np.float64).reshape(-1, 2)
    return columns[:, 0], columns[:, 1]


def _impact(samples: Sequence[MarketSample]) -> Figure:
    rows = impacts_of(samples)
    title = "Impact of meta-orders"
    if len(rows) < trading.BIN_ROWS_MIN:
        return _nothing("impact", title, "The sample holds no meta-orders.")
    sizes, means, errors = trading.impact_bins(rows)
    law = trading.impact_law(rows)
    shown = means > 0
    dots = _dots(sizes[shown], 1e4 * means[shown], name="mean of a bin", tone="tone:line")
    dots["error_y"] = {"type": "data", "array": _numbers(1e4 * errors[shown]), "color": "tone:line", "thickness": 1}
    traces, note = [dots], "no power law fits"
    if math.isfinite(law.exponent):
        reach = np.geomspace(sizes.min(), sizes.max(), CURVE_POINTS, dtype=np.float64)
        traces.append(_line(reach, 1e4 * law.scale * reach**law.exponent, name="fitted power law", tone="tone:mark"))
        note = f"exponent {law.exponent:.2f}"
    return Figure(
        name="impact",
        title=title,
        note=note,
        traces=traces if shown.any() else [],
        layout=_layout("size, lots", "signed price change, bps", is_log=True),
        empty="No size moved the price its own way.",
    )


def _nothing(name: str, title: str, reason: str) -> Figure:
    return Figure(name=name, title=title, note="", traces=[], layout={}, empty=reason)


def _layout(across: str, up: str, *, is_log: bool = False) -> dict[str, Any]:
    kind = "log" if is_log else "linear"
    return {
        "xaxis": {"type": kind, "title": {"text": across}, "exponentformat": "power"},
        "yaxis": {"type": kind, "title": {"text": up}, "exponentformat": "power"},
        "showlegend": True,
    }


def _line(across: Floats, up: Floats, *, name: str, tone: str) -> dict[str, Any]:
    return _trace(across, up, name) | {"mode": "lines", "line": {"color": tone, "width": 1.5}}


def _dots(across: Floats, up: Floats, *, name: str, tone: str) -> dict[str, Any]:
    return _trace(across, up, name) | {"mode": "markers", "marker": {"color": tone, "size": 6}}


def _trace(across: Floats, up: Floats, name: str) -> dict[str, Any]:
    return {"type": "scatter", "name": name, "x": _numbers(across), "y": _numbers(up), "hoverinfo": "x+y+name"}


def _numbers(values: Floats) -> list[float]:
    return [_short(float(value)) for value in values]


def _short(value: float) -> float:
    """Six digits: more than a screen shows."""
    return float(f"{value:.6g}")
