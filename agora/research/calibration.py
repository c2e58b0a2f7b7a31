"""How good the fair value is against the market's own mid, on recorded windows: Brier scores of both.

Pure functions over rows; `recorded_windows` reads them. Nothing is fitted here: the settings are those that trade.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from agora.domain.errors import UsageFault
from agora.domain.numbers import NS_PER_S
from agora.kernels import fair_value
from agora.kernels.indicators import Figures
from agora.research.recorded_windows import TICKS_PER_UNIT, LateWindow, Open, Quote, Touch
from agora.traders.pair_maker_settings import FairValueSettings
from agora.traders.pair_rules import statistics

FIVE_MINUTES_S = 300
# Prints five minutes apart: with the half-life of a live feed the variance would be that of the last return.
OPENS_HALF_LIFE_S = 1_800.0
OPENS_BEFORE = 288  # a day of them; older ones weigh nothing
QUOTE_AGE_S_MAX = 10  # an older quote says nothing about the moment of a price
# The clock of the late looks runs behind: the price called 20 s before the end is, to the cent in 86 of 202 cases and
# within 0.05 bps on average, the opening price of the next window, and the market is never wrong there.
LATE_CLOCK_BEHIND_S = 20.0
FINAL_QUOTE_S = 60  # a window is judged by a quote from its last minute
DECIDED_MIN = 0.9  # in which the market was this sure


class Forecast(NamedTuple):
    """What model, market and blend said of Up at one moment, and what came."""

    seconds_left: float
    model_up: float
    market_up: float
    blended_up: float
    is_up: bool


class Scores(NamedTuple):
    """Mean squared error of each forecast: 0 is perfect, 0.25 is what even odds always get."""

    samples: int
    model: float
    market: float
    blended: float

    @property
    def better(self) -> str:
        """`model` or `market`, whichever has the lower score; `tie` where they are equal."""
        if self.model == self.market:
            return "tie"
        return "model" if self.model < self.market else "market"

    def sentence(self) -> str:
        """Both scores and the better one, for a report."""
        return (
            f"Brier score over {self.samples} samples: model {self.model:.4f}, market {self.market:.4f}, "
            f"blend {self.blended:.4f}; better: {self.better}"
        )


def brier(forecasts: Sequence[Forecast]) -> Scores:
    """The scores of forecasts; raises `UsageFault` when there are none."""
    if not forecasts:
        raise UsageFault("there is no forecast to score: no sample had both a price and a market")
    table = np.array([(*forecast[1:4], float(forecast.is_up)) for forecast in forecasts], dtype=np.float64)
    errors = ((table[:, :3] - table[:, 3:]) ** 2).mean(axis=0)
    return Scores(len(forecasts), *(float(error) for error in errors))


def brier_by_time(forecasts: Sequence[Forecast], *, edges_s: Sequence[float]) -> dict[tuple[float, float], Scores]:
    """The scores for each span of seconds left, from above one edge up to the next; empty spans are left out."""
    found = {}
    for low, high in itertools.pairwise(edges_s):
        inside = [forecast for forecast in forecasts if low < forecast.seconds_left <= high]
        if inside:
            found[low, high] = brier(inside)
    return found


def late_forecasts(
    windows: Sequence[LateWindow], settings: FairValueSettings, *, clock_behind_s: float = LATE_CLOCK_BEHIND_S
) -> list[Forecast]:
    """Forecasts at each look at five-minute windows in the order of time, settled by one price.

    The variance comes from the prices seen until then, the looks at earlier windows included. A look that was
    in truth taken at or after the end is no forecast.
    """
    buf = statistics(settings)
    forecasts: list[Forecast] = []
    for window in windows:
        fair_value.observe(buf, window.open_price, window.start_s * NS_PER_S)
        for sample in window.samples:
            seconds_left = sample.seconds_left - clock_behind_s
            if seconds_left <= 0.0:
                continue
            fair_value.observe(buf, sample.spot, round((window.start_s + FIVE_MINUTES_S - seconds_left) * NS_PER_S))
            moment = _Moment(sample.spot, window.open_price, seconds_left, sample.touch)
            forecasts += _forecast(buf, settings, moment, is_up=window.is_up)
    return forecasts


def quarter_hour_forecasts(
    quotes: Sequence[Quote], opens: Sequence[Open], settings: FairValueSettings
) -> list[Forecast]:
    """Forecasts five and ten minutes into windows of a quarter of an hour, where a reference price is known.

    A window is judged by its last quote; one that was not decided by then, or has no start price, is left out.
    """
    slower = msgspec.structs.replace(settings, half_life_s=OPENS_HALF_LIFE_S)
    prices = dict(opens)
    forecasts: list[Forecast] = []
    for window in _by_window(quotes):
        start_s, end_s = window[0].window_start_s, window[0].window_end_s
        is_up = _outcome(window, end_s)
        if is_up is None or start_s not in prices:
            continue
        buf = statistics(slower)
        for moment_s in range(start_s - OPENS_BEFORE * FIVE_MINUTES_S, end_s, FIVE_MINUTES_S):
            if moment_s not in prices:
                continue
            fair_value.observe(buf, prices[moment_s], moment_s * NS_PER_S)
            touch = _touch_at(window, moment_s) if moment_s > start_s else None
            if touch is not None:
                moment = _Moment(prices[moment_s], prices[start_s], float(end_s - moment_s), touch)
                forecasts += _forecast(buf, settings, moment, is_up=is_up)
    return forecasts


class _Moment(NamedTuple):
    price: float
    start_price: float
    seconds_left: float
    touch: Touch


def _forecast(buf: Figures, settings: FairValueSettings, moment: _Moment, *, is_up: bool) -> Iterator[Forecast]:
    """One forecast, or none where the books say nothing."""
    width_ticks = round(settings.market_width_max * TICKS_PER_UNIT)
    market = fair_value.market_up(np.array(moment.touch, dtype=np.int64), TICKS_PER_UNIT, width_ticks)
    if not 0.0 <= market <= 1.0:
        return
    drift = float(buf[fair_value.DRIFT_PER_S]) if settings.uses_drift else 0.0
    probability = fair_value.up_probability(
        moment.price,
        moment.start_price,
        moment.seconds_left,
        float(buf[fair_value.VARIANCE_PER_S]),
        drift,
        settings.drift_sd_max,
        fair_value.SPOT,  # the recordings are older than the settlement by a mean
        0.0,
        0,
    )
    model, blended = fair_value.blend(probability, market, settings.q_market_blend)
    yield Forecast(moment.seconds_left, model, market, blended, is_up)


def _by_window(quotes: Sequence[Quote]) -> list[list[Quote]]:
    """Quotes of each window in the order of time; of one second the last to arrive comes last."""
    windows: dict[int, list[Quote]] = {}
    for quote in quotes:
        windows.setdefault(quote.window_start_s, []).append(quote)
    return [sorted(windows[start_s], key=lambda quote: quote.ts_s) for start_s in sorted(windows)]


def _touch_at(window: Sequence[Quote], moment_s: int) -> Touch | None:
    """The newest touch that is not older than a few seconds."""
    known = [quote for quote in window if moment_s - QUOTE_AGE_S_MAX <= quote.ts_s <= moment_s]
    return known[-1].touch if known else None


def _outcome(window: Sequence[Quote], end_s: int) -> bool | None:
    """How the market saw the window end, or None when it was not sure or not seen."""
    last = window[-1]
    if last.ts_s < end_s - FINAL_QUOTE_S:
        return None
    up = fair_value.market_up(np.array(last.touch, dtype=np.int64), TICKS_PER_UNIT, TICKS_PER_UNIT)
    if up >= DECIDED_MIN:
        return True
    return False if up <= 1.0 - DECIDED_MIN else None
