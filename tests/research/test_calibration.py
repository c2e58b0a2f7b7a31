"""The calibration of the fair value: scores by hand, readers that tolerate damage, figures of the recordings."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import pytest

from agora.domain.errors import UsageFault
from agora.research.calibration import (
    Forecast,
    Scores,
    brier,
    brier_by_time,
    late_forecasts,
    quarter_hour_forecasts,
)
from agora.research.recorded_windows import (
    LateSample,
    LateWindow,
    Open,
    Quote,
    read_late_windows,
    read_opens,
    read_quotes,
)
from agora.traders.pair_maker_settings import FairValueSettings

pytestmark = pytest.mark.requirement("P3.1")

SETTINGS = FairValueSettings(q_market_blend=0.5)
START_S = 1_767_000_600  # a multiple of a quarter of an hour
EVEN = (490, 510, 490, 510)
SURE_UP = (990, 0, 0, 10)


def packed(path: Path, text: str) -> Path:
    """A compressed file of that text."""
    path.write_bytes(gzip.compress(text.encode()))
    return path


def test_scores_are_mean_squared_errors() -> None:
    """Two forecasts by hand: 0.8 and 0.4 of Up that came and did not; the better one is named."""
    forecasts = [Forecast(60.0, 0.8, 0.9, 0.85, True), Forecast(10.0, 0.4, 0.3, 0.35, False)]
    scores = brier(forecasts)
    assert (scores.samples, scores.better) == (2, "market")
    assert scores.model == pytest.approx((0.04 + 0.16) / 2)
    assert scores.market == pytest.approx((0.01 + 0.09) / 2)
    assert scores.blended == pytest.approx((0.0225 + 0.1225) / 2)
    assert scores.sentence() == (
        "Brier score over 2 samples: model 0.1000, market 0.0500, blend 0.0725; better: market"
    )


@pytest.mark.parametrize("model, market, better", [(0.1, 0.2, "model"), (0.2, 0.1, "market"), (0.1, 0.1, "tie")])
def test_the_better_is_named_whichever_it_is(model: float, market: float, better: str) -> None:
    """The model is not favoured."""
    assert Scores(1, model, market, 0.0).better == better


def test_scores_can_be_split_by_time_left() -> None:
    """Each span holds the samples above its lower and up to its upper edge; empty ones are left out."""
    forecasts = [Forecast(seconds, 0.5, 1.0, 0.5, True) for seconds in (10.0, 20.0, 50.0)]
    found = brier_by_time(forecasts, edges_s=(0.0, 10.0, 30.0, 40.0, 60.0))
    assert {span: scores.samples for span, scores in found.items()} == {(0, 10): 1, (10, 30): 1, (40, 60): 1}


def test_nothing_to_score_is_said() -> None:
    """No samples are no score of zero."""
    with pytest.raises(UsageFault, match="no forecast"):
        brier([])


def test_a_late_window_is_forecast_with_the_time_that_was_really_left() -> None:
    """Looks taken at or after the end are none; an empty side of a decided book is its end of the scale."""
    samples = tuple(LateSample(seconds, 100_050.0, SURE_UP) for seconds in (120.0, 30.0, 20.0, 10.0))
    window = LateWindow(START_S, 100_000.0, samples, is_up=True)
    found = late_forecasts([window], SETTINGS)
    assert [forecast.seconds_left for forecast in found] == [100.0, 10.0]
    assert [forecast.market_up for forecast in found] == [0.995, 0.995]
    assert found[0].model_up < found[1].model_up
    assert found[0].blended_up == pytest.approx((found[0].model_up + 0.995) / 2)
    assert len(late_forecasts([window], SETTINGS, clock_behind_s=0.0)) == 4


def test_a_book_that_says_nothing_gives_no_forecast() -> None:
    """An empty book and one wider than the setting are no market."""
    samples = (LateSample(60.0, 100_000.0, (0, 0, 0, 0)), LateSample(50.0, 100_000.0, (400, 600, 400, 600)))
    assert late_forecasts([LateWindow(START_S, 100_000.0, samples, is_up=True)], SETTINGS) == []


def window_quotes(*, last_s: int = 890, final: tuple[int, int, int, int] = SURE_UP) -> list[Quote]:
    """A quote a second before five and ten minutes, and a last one."""
    moments = ((299, EVEN), (599, (600, 620, 380, 400)), (last_s, final))
    return [Quote(START_S + moment, START_S, START_S + 900, touch) for moment, touch in moments]


OPENS = [Open(START_S + moment, 100_000.0 + moment) for moment in range(-3_000, 1_200, 300)]


def test_a_quarter_of_an_hour_is_forecast_where_prices_are_known() -> None:
    """Five and ten minutes into the window, against its price to beat, and judged by its last quote."""
    found = quarter_hour_forecasts(window_quotes(), OPENS, SETTINGS)
    assert [(forecast.seconds_left, forecast.is_up) for forecast in found] == [(600.0, True), (300.0, True)]
    assert [forecast.market_up for forecast in found] == [0.5, 0.61]
    assert all(0.5 < forecast.model_up < 1.0 for forecast in found)


def test_times_that_step_back_do_not_hide_the_newest_quote() -> None:
    """Rows in any order give the same forecasts; of the same second the last to arrive counts."""
    shuffled = [window_quotes()[number] for number in (2, 0, 1)]
    assert quarter_hour_forecasts(shuffled, OPENS, SETTINGS) == quarter_hour_forecasts(window_quotes(), OPENS, SETTINGS)
    again = [*window_quotes(), Quote(START_S + 299, START_S, START_S + 900, (500, 520, 480, 500))]
    assert quarter_hour_forecasts(again, OPENS, SETTINGS)[0].market_up == 0.51


@pytest.mark.parametrize(
    "quotes, opens",
    [
        (window_quotes(last_s=839), OPENS),
        (window_quotes(final=EVEN), OPENS),
        (window_quotes(final=(0, 0, 0, 0)), OPENS),
        (window_quotes(), [row for row in OPENS if row.ts_s != START_S]),
        ([row._replace(ts_s=row.ts_s - 20) for row in window_quotes(last_s=910)], OPENS),
    ],
    ids=["its end was not seen", "undecided", "an empty last book", "no start price", "quotes too old"],
)
def test_windows_that_cannot_be_judged_are_left_out(quotes: list[Quote], opens: list[Open]) -> None:
    """No outcome, price to beat or fresh quote is guessed."""
    assert quarter_hour_forecasts(quotes, opens, SETTINGS) == []


def test_damaged_lines_are_counted_and_left_out(tmp_path: Path) -> None:
    """Blank lines are nothing; broken, incomplete and impossible ones are skipped, and the rest is read."""
    good = (
        '{"window_ts": 300, "open_px": 5.0, "winner": "UP", "samples": [{"t": -9.5, "spot": 5.5, '
        '"up": {"bid": 0.4, "ask": null}, "down": {"bid": 0.0, "ask": 0.6}}]}'
    )
    bad = ["{", "[]", '{"window_ts": 1}', good.replace("UP", "VOID"), good.replace("0.4", "1.4")]
    found = read_late_windows(packed(tmp_path / "a.jsonl.gz", "\n".join([good, "", *bad])))
    assert found.skipped == len(bad)
    assert found.rows == (LateWindow(300, 5.0, (LateSample(9.5, 5.5, (400, 0, 0, 600)),), is_up=True),)


def test_opens_are_sorted(tmp_path: Path) -> None:
    """The newest day first in the file, the oldest price first here."""
    found = read_opens(packed(tmp_path / "a.csv.gz", "timestamp,btc_open\n600,2.0\n300,1.0\nx,1\n900,nan\n"))
    assert found == ((Open(300, 1.0), Open(600, 2.0)), 2)


def test_a_file_that_is_absent_or_damaged_is_named(tmp_path: Path) -> None:
    """The message says which file and why; a cut-off file is not half an answer."""
    with pytest.raises(UsageFault, match=r"cannot read none\.gz"):
        read_quotes(tmp_path / "none.gz")
    (tmp_path / "plain.gz").write_text("not compressed")
    with pytest.raises(UsageFault, match=r"cannot read plain\.gz"):
        read_quotes(tmp_path / "plain.gz")
    whole = packed(tmp_path / "cut.gz", "timestamp,btc_open\n" + "".join(f"{n},1.5\n" for n in range(5_000)))
    whole.write_bytes(whole.read_bytes()[:-200])
    with pytest.raises(UsageFault, match=r"cannot read cut\.gz"):
        read_opens(whole)
    with pytest.raises(UsageFault, match=r"no row that can be read \(1 lines"):
        read_opens(packed(tmp_path / "empty.gz", "timestamp,btc_open\nx,y\n"))


def test_the_late_windows_are_scored_against_the_market(recorded_data: Path) -> None:
    """203 windows, 1,012 looks before their end: the market's mid is better there, and both scores are good ones."""
    found = read_late_windows(recorded_data / "polymarket" / "btc_5m_late_window_books_202607.jsonl.gz")
    assert (len(found.rows), found.skipped) == (203, 0)
    forecasts = late_forecasts(found.rows, SETTINGS)
    scores = brier(forecasts)
    assert scores.samples == 1_012
    assert scores.model == pytest.approx(0.0932, abs=5e-4)
    assert scores.market == pytest.approx(0.0732, abs=5e-4)
    by_time = brier_by_time(forecasts, edges_s=(0.0, 15.0, 30.0, 50.0, 80.0, 130.0))
    assert [found.samples for found in by_time.values()] == [202, 203, 203, 203, 201]
    models = [found.model for found in by_time.values()]
    assert models == sorted(models), "the nearer the end, the better the forecast"


def test_the_clock_of_the_late_looks_is_behind(recorded_data: Path) -> None:
    """The price labelled 20 s before the end is the opening price of the next window, so it was taken at the end."""
    found = read_late_windows(recorded_data / "polymarket" / "btc_5m_late_window_books_202607.jsonl.gz")
    off_bps: dict[int, list[float]] = {}
    for window, later in zip(found.rows, found.rows[1:], strict=False):
        for sample in window.samples:
            distance = abs(math.log(sample.spot / later.open_price)) * 1e4
            off_bps.setdefault(round(sample.seconds_left / 10), []).append(distance)
    means = {label: sum(values) / len(values) for label, values in off_bps.items()}
    assert min(means, key=lambda label: means[label]) == 2
    assert means[2] < 0.1
    assert means[1] > 1.0


def test_the_quarters_of_an_hour_are_scored_against_the_market(recorded_data: Path) -> None:
    """65 windows five and ten minutes in: model and market are close, and half of each is better than both."""
    folder = recorded_data / "polymarket"
    quotes = [
        quote
        for name in ("btc_15m_bbo_1s_20251226.csv.gz", "btc_15m_bbo_1s_20260101.csv.gz")
        for quote in read_quotes(folder / name).rows
    ]
    assert len(quotes) == 28_494 + 30_091
    opens = read_opens(folder / "btc_5m_outcomes_20251218_20260316.csv.gz").rows
    scores = brier(quarter_hour_forecasts(quotes, opens, SETTINGS))
    assert scores.samples == 129
    assert scores.model == pytest.approx(0.1473, abs=5e-4)
    assert scores.market == pytest.approx(0.1457, abs=5e-4)
    assert scores.blended < min(scores.model, scores.market)
