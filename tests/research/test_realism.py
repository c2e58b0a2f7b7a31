"""The realism report is fair: it fails walks that are no markets and passes series that have the facts."""

from __future__ import annotations

import csv
import io
import math
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from agora.research.realism import judge
from agora.research.realism_sample import MarketSample
from agora.research.realism_statistics import Estimate, Floats
from agora.research.realism_verdicts import Fact, Row, Verdict, worst
from agora.venues.import_arrow import read_arrow
from tests.research.realism_builders import (
    draws,
    garch_days,
    gaussian_days,
    lagged_days,
    metaorders,
    moving_average_days,
    quoted,
    samples_of,
    split_signs,
)

SEEDS = range(20)
RETURN_ROWS = (
    *("tail_exponent", "kurtosis", "aggregation", "autocorrelation_lag_1", "autocorrelation_beyond"),
    *("clustering", "clustering_decay"),
)
TRADE_ROWS = (*("sign_memory", "spread_ticks", "spread_bps", "one_sided", "volume_volatility", "impact_exponent"),)


def verdicts(days_of: Callable[[int], list[Floats]]) -> dict[str, Counter[Verdict]]:
    """How often each row said what, over all seeds."""
    said: dict[str, Counter[Verdict]] = {name: Counter() for name in RETURN_ROWS}
    for seed in SEEDS:
        report = judge(*samples_of(days_of(seed)))
        for name in RETURN_ROWS:
            said[name][report.row(name).verdict] += 1
    return said


def test_a_gaussian_walk_fails_on_tails_and_on_clustering() -> None:
    """Every seed fails kurtosis, clustering and its decay, and none has a tail that passes."""
    said = verdicts(gaussian_days)
    for name in ("kurtosis", "clustering", "clustering_decay"):
        assert said[name] == {Verdict.FAIL: len(SEEDS)}, name
    assert said["tail_exponent"][Verdict.PASS] == 0
    assert said["tail_exponent"][Verdict.FAIL] >= len(SEEDS) // 2
    assert said["aggregation"][Verdict.PASS] == 0, "nothing can fall where nothing is heavy"


def test_a_gaussian_walk_has_no_autocorrelation_to_fail_on() -> None:
    """Independent returns pass both rows of linear dependence, up to one false alarm."""
    said = verdicts(gaussian_days)
    for name in ("autocorrelation_lag_1", "autocorrelation_beyond"):
        assert said[name][Verdict.PASS] >= len(SEEDS) - 1, name


@pytest.mark.parametrize("theta", [0.5, -0.5])
def test_a_moving_average_fails_on_autocorrelation(theta: float) -> None:
    """An MA(1) of 0.5 either way is beyond what quotes explain, for every seed."""
    said = verdicts(lambda seed: moving_average_days(seed, theta))
    assert said["autocorrelation_lag_1"] == {Verdict.FAIL: len(SEEDS)}


def test_a_bounce_between_bid_and_ask_is_no_failure() -> None:
    """A lag-1 autocorrelation of -0.15 is what quotes do."""
    said = verdicts(lambda seed: moving_average_days(seed, -0.155))
    assert said["autocorrelation_lag_1"][Verdict.FAIL] == 0


def test_dependence_beyond_lag_1_fails_at_every_lag_tested() -> None:
    """An echo after 2 to 11 minutes fails the joint test and leaves lag 1 alone."""
    for lag in range(2, 12):
        report = judge(*samples_of(lagged_days(lag, 0.3, lag)))
        assert report.row("autocorrelation_beyond").verdict is Verdict.FAIL, f"lag {lag}"
        assert f"at lag {lag}," in report.row("autocorrelation_beyond").detail
        assert report.row("autocorrelation_lag_1").verdict is Verdict.PASS, f"lag {lag}"


def test_dependence_that_is_proven_but_tiny_is_told_and_not_failed() -> None:
    """An echo of 0.03 over 300 days is beyond chance and below what matters."""
    row = judge(*samples_of(lagged_days(1, 0.03, 4, days=300))).row("autocorrelation_beyond")
    assert row.verdict is Verdict.WARN
    assert "too small to matter" in row.detail


def test_linear_dependence_is_not_taken_for_clustering() -> None:
    """An MA(1) makes neighbours alike in size as well, and nothing beyond: it fails on clustering."""
    said = verdicts(lambda seed: moving_average_days(seed, 0.5, days=20))
    assert said["clustering"] == {Verdict.FAIL: len(SEEDS)}


def test_garch_with_t_noise_passes_on_tails_and_clustering() -> None:
    """Over all seeds nothing fails but what the level of the tests allows, and nearly all pass."""
    said = verdicts(garch_days)
    for name in RETURN_ROWS:
        assert said[name][Verdict.FAIL] <= (1 if name == "autocorrelation_beyond" else 0), name
        assert said[name][Verdict.PASS] >= 0.8 * len(SEEDS), name
    assert said["kurtosis"] == said["clustering"] == {Verdict.PASS: len(SEEDS)}


def test_volatility_that_forgets_at_once_fails_on_clustering() -> None:
    """Independent t noise has the tails and not the clustering: the rows tell them apart."""
    days = list(1e-3 * draws(1).standard_t(3, (5, 390)))
    report = judge(*samples_of(days))
    assert report.row("kurtosis").verdict is Verdict.PASS
    assert report.row("clustering").verdict is Verdict.FAIL


def test_tails_without_variance_fail() -> None:
    """A tail exponent of 1.3 is below the band."""
    days = list(1e-4 * draws(2).standard_t(1.3, (10, 390)))
    assert judge(*samples_of(days)).row("tail_exponent").verdict is Verdict.FAIL


def test_a_single_jump_is_no_heavy_tail() -> None:
    """A Gaussian walk with one crash has a high kurtosis that rests on one return, and the report says so."""
    days = gaussian_days(1)
    days[2][200] = 0.02
    row = judge(*samples_of(days)).row("kurtosis")
    assert row.value is not None
    assert row.value > 1
    assert row.verdict is Verdict.WARN
    assert "single return" in row.detail


def test_no_return_straddles_two_samples() -> None:
    """Jumps between days, which are no returns of a minute, leave every number as it is."""
    days = garch_days(7)
    jumping = samples_of(days)
    level = [
        MarketSample(prices=50 * sample.prices / float(sample.prices[0]), step_s=60) for sample in samples_of(days)
    ]
    for name in RETURN_ROWS:
        left, right = judge(*jumping).row(name), judge(*level).row(name)
        assert left.value == pytest.approx(right.value), name
        assert left.n == right.n == 5 * 390


def test_seconds_and_minutes_give_the_same_report() -> None:
    """Prices by the second are cut at the end of each minute."""
    minutes = samples_of(garch_days(3))
    seconds = [MarketSample(prices=np.repeat(sample.prices, 60), step_s=1) for sample in minutes]
    assert judge(*seconds) == judge(*minutes)


def test_a_minute_closes_with_its_last_second_and_keeps_its_volume() -> None:
    """Of three minutes, two have a return, each beside the volume of its own minute."""
    prices = np.ones(180)
    prices[119], prices[179] = 2.0, 8.0
    sample = MarketSample(prices=prices, volumes=np.array([5.0, 6.0, 7.0]))
    assert list(sample.minute_closes()) == [1.0, 2.0, 8.0]
    assert sample.minute_returns() == pytest.approx([math.log(2), math.log(4)])
    assert list(sample.minute_volumes()) == [6.0, 7.0]


def test_too_few_observations_are_told_and_not_judged() -> None:
    """Nothing, one price and half a day give WARN in every row, with the number that is missing."""
    for samples in ([], [MarketSample(prices=np.ones(0))], samples_of(gaussian_days(1, days=1))):
        report = judge(*samples)
        assert report.verdict is Verdict.WARN
        for row in report.rows:
            assert row.verdict is Verdict.WARN, row.name
            assert "are needed to judge" in row.detail, row.name


def test_a_price_that_never_moves_fails() -> None:
    """A dead market has no stylised fact; it is not excused for lack of numbers."""
    report = judge(MarketSample(prices=np.ones(2_000), step_s=60))
    assert [report.row(name).verdict for name in RETURN_ROWS] == [Verdict.FAIL] * len(RETURN_ROWS)


# Trades and quotes.


def signed(signs: Floats) -> Row:
    """The row on order signs of one sample."""
    return judge(MarketSample(prices=np.ones(1), signs=signs)).row("sign_memory")


def test_split_orders_have_a_long_memory_and_coins_have_none() -> None:
    """Pareto parents of exponent 1.5 pass on nearly every seed, independent signs fail on every seed."""
    said = Counter(signed(split_signs(seed)).verdict for seed in range(10))
    assert said[Verdict.FAIL] <= 1, said
    assert said[Verdict.PASS] >= 7, said
    for seed in range(10):
        coins = np.where(draws(seed).random(20_000) < 0.5, 1.0, -1.0)
        assert signed(coins).verdict is Verdict.FAIL, seed


def test_a_short_memory_of_signs_is_no_long_memory() -> None:
    """Parents of equal length are forgotten at once after it."""
    signs = np.repeat(np.where(draws(1).random(1_000) < 0.5, 1.0, -1.0), 30)
    row = signed(signs)
    assert row.verdict is Verdict.FAIL
    assert row.value is None or row.value > 0.8


def test_a_flow_that_never_turns_is_no_long_memory() -> None:
    """Seven buys in ten for ever do not decay."""
    row = signed(np.where(draws(1).random(20_000) < 0.7, 1.0, -1.0))
    assert row.verdict is Verdict.FAIL
    assert row.value == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize(
    "sample, name, verdict",
    [
        (quoted(2.0), "spread_ticks", Verdict.PASS),
        (quoted(0.5), "spread_ticks", Verdict.FAIL),
        (quoted(-1.0), "spread_ticks", Verdict.FAIL),
        (quoted(0.0), "spread_bps", Verdict.FAIL),
        (quoted(2.0), "spread_bps", Verdict.PASS),
        (quoted(2.0, price=100.0), "spread_bps", Verdict.FAIL),
        (quoted(empty=0), "one_sided", Verdict.PASS),
        (quoted(empty=39), "one_sided", Verdict.PASS),
        (quoted(empty=80), "one_sided", Verdict.FAIL),
        (quoted(steps=3_000), "one_sided", Verdict.WARN),
    ],
    ids=["two", "half", "crossed", "locked", "2 bps", "200 bps", "none", "39", "80", "short"],
)
def test_quotes_are_judged(sample: MarketSample, name: str, verdict: Verdict) -> None:
    """A spread of at least a tick, small against the price, and both sides there."""
    assert judge(sample).row(name).verdict is verdict


def test_the_spread_against_the_price_counts_in_money() -> None:
    """Two ticks of 0.01 at a price of 100 are 2 bps."""
    sample = msgspec.structs.replace(quoted(2.0, price=100.0), tick_price=0.01)
    assert judge(sample).row("spread_bps").value == pytest.approx(2.0)


def test_one_crossed_second_fails_and_a_missing_side_is_no_spread() -> None:
    """A single spread of 0 between two sides is a fault of the book; at a step without a side it is nothing."""
    spreads, empty = np.full(4_000, 2.0), np.zeros(4_000)
    spreads[7] = 0
    crossed = MarketSample(prices=np.full(4_000, 1e4), spreads=spreads, one_sided=empty)
    assert judge(crossed).row("spread_ticks").verdict is Verdict.FAIL
    empty[7] = 1
    missing = MarketSample(prices=np.full(4_000, 1e4), spreads=spreads, one_sided=empty)
    assert judge(missing).row("spread_ticks").verdict is Verdict.PASS
    assert judge(missing).row("spread_ticks").n == 3_999


def traded(seed: int, *, is_linked: bool) -> Row:
    """The row on volume of a GARCH whose volume follows its |returns|, or those of another market."""
    samples = samples_of(garch_days(seed))
    others = samples if is_linked else samples_of(garch_days(seed + 100))
    return judge(
        *(
            msgspec.structs.replace(
                sample,
                volumes=np.concatenate([np.ones(1), 1 + np.abs(other.minute_returns()) * 1e4])
                * draws(seed + day).integers(1, 20, sample.minutes),
            )
            for day, (sample, other) in enumerate(zip(samples, others, strict=True))
        )
    ).row("volume_volatility")


def test_volume_that_moves_prices_passes_and_volume_of_another_market_does_not() -> None:
    """The correlation is proven where it is, and not found where both only cluster, up to one seed in ten."""
    assert {traded(seed, is_linked=True).verdict for seed in range(10)} == {Verdict.PASS}
    strangers = Counter(traded(seed, is_linked=False).verdict for seed in range(10))
    assert strangers[Verdict.PASS] <= 1


def impact_row(rows: Floats) -> Row:
    """The row on impact of one sample."""
    return judge(MarketSample(prices=np.ones(1), metaorders=rows)).row("impact_exponent")


@pytest.mark.parametrize("seed", range(5))
def test_square_root_impact_passes_and_others_do_not(seed: int) -> None:
    """0.5 passes; 0.85, linear and flat impact fail."""
    assert impact_row(metaorders(seed, 0.5)).verdict is Verdict.PASS
    for exponent in (0.0, 0.85, 1.0):
        row = impact_row(metaorders(seed, exponent))
        assert row.verdict is Verdict.FAIL, exponent
        assert row.value == pytest.approx(exponent, abs=0.2)


def test_impact_against_the_order_fails() -> None:
    """Prices that fall when meta-orders buy have no impact law."""
    rows = metaorders(1, 0.5)
    rows[:, 0] *= -1
    assert impact_row(rows).verdict is Verdict.FAIL


def test_impact_over_less_than_a_decade_of_sizes_is_undecided() -> None:
    """Any exponent fits sizes that are all alike."""
    rows = metaorders(1, 0.5)
    assert impact_row(rows[rows[:, 1] < 40]).verdict is Verdict.WARN


# Real prices, and what is refused.


def passing(sample: MarketSample) -> list[str]:
    """The rows that pass."""
    return judge(sample).names(Verdict.PASS)


def test_bitcoin_by_the_minute_passes_every_row_that_applies(recorded_data: Path) -> None:
    """51 days of a real market: seven facts of returns, and volume with volatility; the rest was not recorded."""
    files = sorted((recorded_data / "candles").glob("binance_perp_BTCUSDT_1m_*.feather"))
    tables = [read_arrow(file, times=("date",), numbers=("close", "volume")) for file in files]
    overlap = 13_259
    closes, volumes = (
        np.concatenate([tables[0].numbers[name], tables[1].numbers[name][overlap:]]) for name in ("close", "volume")
    )
    report = judge(MarketSample(prices=closes, volumes=volumes, step_s=60))
    assert report.names(Verdict.PASS) == [*RETURN_ROWS, "volume_volatility"]
    assert report.names(Verdict.FAIL) == []
    assert report.row("kurtosis").n == 73_138


def test_shares_by_the_day_pass_every_row_of_returns(recorded_data: Path) -> None:
    """SPY since 1998, a day taken as a step: the facts hold at that scale too."""
    with zipfile.ZipFile(recorded_data / "daily" / "spy_us_daily.zip") as archive:
        text = archive.read(archive.namelist()[0]).decode()
    closes = np.array([float(line[4]) for line in csv.reader(io.StringIO(text))])
    assert passing(MarketSample(prices=closes, step_s=60)) == list(RETURN_ROWS)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"prices": np.array([1.0, math.nan])}, "prices must be finite and positive"),
        ({"prices": np.array([0.0])}, "prices must be finite and positive"),
        ({"step_s": 7}, "step_s must divide 60"),
        ({"step_s": 0}, "step_s must divide 60"),
        ({"tick_price": 0.0}, "tick_price must be positive"),
        ({"signs": np.array([1.0, 0.0])}, "signs must be"),
        ({"volumes": np.ones(3)}, "3 volumes for 2 whole minutes"),
        ({"volumes": np.array([1.0, -1.0])}, "volumes must be finite"),
        ({"spreads": np.ones(120)}, "spreads and one_sided"),
        ({"spreads": np.ones(3), "one_sided": np.zeros(3)}, "spreads and one_sided"),
        ({"metaorders": np.ones((2, 3))}, "4 columns"),
        ({"metaorders": np.array([[1.0, 5.0, 0.0, 100.0]])}, "metaorders must be finite and positive"),
        ({"metaorders": np.array([[0.0, 5.0, 100.0, 100.0]])}, "sides of metaorders"),
    ],
    ids=lambda case: " ".join(case) if isinstance(case, dict) else "",
)
def test_a_sample_that_contradicts_itself_is_refused(change: dict[str, object], words: str) -> None:
    """A wrong shape or value is named instead of becoming a wrong statistic."""
    with pytest.raises(ValueError, match=words):
        MarketSample(**{"prices": np.ones(120), **change})  # type: ignore[arg-type]


def fact(low: float | None, high: float | None) -> Fact:
    """A fact with that band and enough observations."""
    return Fact(name="x", statistic="x", band=(low, high), n=10, n_min=10)


@pytest.mark.parametrize(
    "value, error, verdict",
    [
        (3.0, 0.1, Verdict.PASS),
        (3.0, 2.0, Verdict.WARN),
        (3.0, math.nan, Verdict.WARN),
        (5.1, 0.2, Verdict.WARN),
        (5.1, 0.0, Verdict.FAIL),
        (6.0, 0.2, Verdict.FAIL),
        (1.0, 0.2, Verdict.FAIL),
        (6.0, math.nan, Verdict.FAIL),
        (math.nan, math.nan, Verdict.FAIL),
    ],
)
def test_a_verdict_weighs_the_error_against_the_band(value: float, error: float, verdict: Verdict) -> None:
    """Inside passes unless the error is as wide as the band; outside fails unless the error reaches in."""
    estimate = Estimate(value, error)
    assert fact(2.0, 5.0).judged(estimate, "").verdict is verdict


def test_the_worst_verdict_is_that_of_the_report() -> None:
    """FAIL before WARN before PASS."""
    assert worst([Verdict.PASS, Verdict.FAIL, Verdict.WARN]) is Verdict.FAIL
    assert worst([Verdict.PASS, Verdict.WARN]) is Verdict.WARN
    assert worst([Verdict.PASS]) is Verdict.PASS


def test_every_row_is_named_once() -> None:
    """The report has all rows in their order, also of an empty market."""
    assert tuple(row.name for row in judge().rows) == (*RETURN_ROWS, *TRADE_ROWS)
