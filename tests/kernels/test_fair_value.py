"""The fair value of a window: reference values, the mean that settles it, variance from irregular prints."""

from __future__ import annotations

import hashlib
import math
import random

import numpy as np
import pytest

from agora.kernels import fair_value
from agora.kernels.fair_value import SPOT, TWAP30, TWAP60
from tests.kernels.fair_value_twin import Twin, probability
from tests.kernels.interpreted import interpreted

START = 100_000.0
VARIANCE = 1e-8
SECOND_NS = 10**9
T0_NS = 1_785_000_000 * SECOND_NS

pytestmark = pytest.mark.requirement("P3.1")


def up(price: float, seconds_left: float, **named: float) -> float:
    """The kernel with the usual start, variance, no drift and the spot rule."""
    return fair_value.up_probability(
        price,
        named.get("start", START),
        seconds_left,
        named.get("variance", VARIANCE),
        named.get("drift", 0.0),
        named.get("drift_sd_max", 0.25),
        int(named.get("samples", SPOT)),
        named.get("known_sum", 0.0),
        int(named.get("known_count", 0)),
    )


def statistics(*, half_life_s: float = 30.0, jump_sd: float = 20.0) -> fair_value.Figures:
    """An empty buffer that starts from the usual variance."""
    return fair_value.create(
        half_life_s=half_life_s,
        move_half_life_s=5.0,
        variance_prior=VARIANCE,
        variance_min=1e-12,
        jump_sd=jump_sd,
    )


@pytest.mark.parametrize(
    "price, seconds_left, expected",
    [(100_050.0, 900.0, 0.5662), (100_050.0, 300.0, 0.6136), (100_050.0, 60.0, 0.7406), (99_900.0, 300.0, 0.2818)],
)
def test_the_reference_values_are_reproduced(price: float, seconds_left: float, expected: float) -> None:
    """Spot rule, no drift, 1e-8 per second: the four published probabilities to four decimals."""
    assert round(up(price, seconds_left), 4) == expected


@pytest.mark.parametrize("samples", [SPOT, TWAP30, TWAP60])
def test_a_tie_is_up_and_the_end_decides(samples: int) -> None:
    """Without time left the value is 1 at or above the start and 0 below, whatever the rule."""
    known = {"samples": samples, "known_count": samples}
    assert up(START, 0.0, known_sum=samples * START, **known) == 1.0
    assert up(START - 0.01, 0.0, known_sum=samples * (START - 0.01), **known) == 0.0


def test_a_tie_survives_the_rounding_of_its_sum() -> None:
    """Sixty equal prices whose sum is not exact in doubles are still a tie."""
    price = 65_048.078902260626
    average = fair_value.create_average(end_s=60, samples=60)
    for second in range(1, 61):
        fair_value.average_price(average, price, second * SECOND_NS)
    fair_value.average_until(average, 60 * SECOND_NS)
    assert up(price, 0.0, start=price, samples=60, known_sum=average[0], known_count=average[1]) == 1.0


@pytest.mark.parametrize("seed", range(200))
def test_the_mean_of_samples_equals_its_definition(seed: int) -> None:
    """Any rule, time left, known part and variance: the closed form is the sum over all pairs of times."""
    chance = random.Random(seed)
    samples = chance.choice((1, 2, TWAP30, TWAP60))
    seconds_left = chance.choice((float(chance.randrange(0, 400)), chance.uniform(0.0, 80.0)))
    ahead = min(samples, math.floor(seconds_left) + 1)
    known = [START * math.exp(chance.gauss(0, 5e-4)) for _ in range(samples - ahead)]
    price, variance = START * math.exp(chance.gauss(0, 5e-4)), chance.choice((1e-9, 1e-8, 1e-7))
    times = [seconds_left - back for back in range(ahead)]
    expected = probability(price=price, start=START, times_s=times, known=known, variance=variance)
    found = up(
        price, seconds_left, variance=variance, samples=samples, known_sum=math.fsum(known), known_count=len(known)
    )
    if sum(times) > 0.0:  # with only the present second left, the twin would divide by a deviation of nothing
        assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    "seconds_left, samples, known_shift, price",
    [
        (900.0, TWAP60, 0.0, 100_040.0),
        (240.0, TWAP30, 0.0, 99_960.0),
        (75.0, TWAP60, 0.0, 100_030.0),
        (59.0, TWAP60, 0.0, 100_020.0),
        (40.5, TWAP60, 25.0, 99_985.0),
        (20.0, TWAP60, -30.0, 100_040.0),
        (12.25, TWAP30, 10.0, 99_990.0),
        (4.0, TWAP60, 3.0, 99_965.0),
    ],
)
def test_the_mean_agrees_with_simulated_paths(
    seconds_left: float, samples: int, known_shift: float, price: float
) -> None:
    """200,000 seeded paths, their arithmetic mean with the known part: the same share ends Up."""
    chance = np.random.default_rng(20_260_807)
    ahead = min(samples, math.floor(seconds_left) + 1)
    known = samples - ahead
    paths = 200_000
    first_s = seconds_left - (ahead - 1)
    steps = chance.normal(size=(paths, ahead)) * math.sqrt(VARIANCE)
    steps[:, 0] *= math.sqrt(first_s)
    means = price * np.exp(np.cumsum(steps, axis=1)).sum(axis=1) + known * (START + known_shift)
    share = float((means >= samples * START).mean())
    found = up(price, seconds_left, samples=samples, known_sum=known * (START + known_shift), known_count=known)
    assert found == pytest.approx(share, abs=4 * math.sqrt(0.25 / paths))
    assert 0.02 < found < 0.98, "a case that is certain proves nothing"


def test_near_the_end_the_mean_is_surer_than_the_last_price() -> None:
    """Half of the minute lies above the start: a price below it does not make Down likely yet under TWAP."""
    price, known = START - 10.0, 30
    spot = up(price, 30.0)
    twap = up(price, 29.0, samples=TWAP60, known_sum=known * (START + 60.0), known_count=known)
    assert spot < 0.5
    assert twap > 0.85


def test_samples_that_were_missed_count_at_the_present_price() -> None:
    """Joining in the last ten seconds without the first fifty gives the value of fifty such samples."""
    price = START + 4.0
    missed = up(price, 9.0, samples=TWAP60)
    assert missed == up(price, 9.0, samples=TWAP60, known_sum=50 * price, known_count=50)


def test_the_drift_moves_the_middle_within_its_clamp() -> None:
    """A little drift moves the value a little, an absurd one only to the clamp, none not at all."""
    plain, little, absurd = (up(START, 300.0, drift=drift) for drift in (0.0, 1e-7, 1.0))
    clamped = 0.5 * math.erfc(-0.25 / math.sqrt(2))
    assert (plain, absurd) == (0.5, pytest.approx(clamped))
    assert plain < little < absurd
    assert up(START, 300.0, drift=-1.0) == pytest.approx(1 - clamped)
    assert up(START, 300.0, drift=1.0, drift_sd_max=0.0) == 0.5


@pytest.mark.parametrize(
    "price, start, variance",
    [
        (START, 0.0, VARIANCE),
        (START, math.nan, VARIANCE),
        (START, math.inf, VARIANCE),
        (0.0, START, VARIANCE),
        (math.nan, START, VARIANCE),
        (START, START, -1.0),
        (START, START, math.nan),
    ],
)
def test_without_a_start_or_a_price_there_is_no_value(price: float, start: float, variance: float) -> None:
    """It raises rather than give a number that somebody would quote."""
    with pytest.raises(ValueError, match="start price"):
        up(price, 60.0, start=start, variance=variance)


@pytest.mark.parametrize("weight, expected", [(0.0, 0.6), (0.25, 0.55), (1.0, 0.4)])
def test_both_values_are_returned_and_the_weight_mixes_them(weight: float, expected: float) -> None:
    """The model's value stays visible beside the blend."""
    assert fair_value.blend(0.6, 0.4, weight) == (0.6, pytest.approx(expected))


def test_a_market_without_a_mid_adds_nothing() -> None:
    """NaN is the absence of a market, not a price of it."""
    assert fair_value.blend(0.6, math.nan, 0.5) == (0.6, 0.6)


@pytest.mark.parametrize(
    "touch, ticks, width, expected",
    [
        ((49, 51, 49, 51), 100, 10, 0.5),
        ((40, 60, 45, 47), 100, 10, 0.54),  # the Down book is the narrower one
        ((0, 1, 99, 0), 100, 10, 0.005),  # as good as decided: the empty side lies at its end
        ((0, 30, 0, 0), 100, 10, None),  # an offer alone says nothing
        ((0, 0, 0, 0), 1000, 100, None),
        ((485, 0, 0, 505), 1000, 30, None),  # a bid for Up and an offer of Down are the same side of Up
    ],
)
def test_the_middle_of_the_market_is_read_from_both_books(
    touch: tuple[int, ...], ticks: int, width: int, expected: float | None
) -> None:
    """A bid for Down is an offer of Up; where they leave too much room there is no middle."""
    found = fair_value.market_up(np.array(touch, dtype=np.int64), ticks, width)
    assert math.isnan(found) if expected is None else found == pytest.approx(expected)


def random_prints(seed: int, count: int) -> list[tuple[float, int]]:
    """A seeded walk with bursts, silences, repeated and reversed times, absurd prints and real jumps."""
    chance = random.Random(seed)
    price, ts_ns, prints = 65_000.0, T0_NS, []
    for _ in range(count):
        gap_s = chance.choice((0.0, -1.0, 0.2, 0.3, 1.0, 1.0, 1.0, 3.7, 65.0))
        ts_ns += int(gap_s * SECOND_NS)
        price *= math.exp(chance.gauss(0, 1e-4) * math.sqrt(abs(gap_s))) * chance.choice((1.0,) * 60 + (1.01,))
        shown = price * chance.choice((1.0,) * 40 + (0.5, 3.0, 0.0, math.nan))
        prints.append((shown, ts_ns))
    return prints


ANSWERS = {"refused": fair_value.REFUSED, "taken": fair_value.TAKEN, "suspect": fair_value.SUSPECT}


@pytest.mark.parametrize("seed", range(12))
def test_statistics_equal_their_definition_over_the_whole_history(seed: int) -> None:
    """After every print, variance, drift and move are those of a twin that looks at everything again."""
    twin = Twin(half_life_s=30.0, move_half_life_s=5.0, prior=VARIANCE, jump_sd=20.0)
    buf = statistics()
    for price, ts_ns in random_prints(seed, 250):
        assert fair_value.observe(buf, price, ts_ns) == ANSWERS[twin.observe(price, ts_ns)]
        if not twin.prints:
            continue
        assert buf[fair_value.PRICE] == twin.prints[-1][0]
        assert buf[fair_value.VARIANCE_PER_S] == pytest.approx(twin.variance(), rel=1e-9, abs=1e-14)
        assert buf[fair_value.DRIFT_PER_S] == pytest.approx(twin.drift(), rel=1e-9, abs=1e-14)
    deviation = math.sqrt(buf[fair_value.VARIANCE_PER_S] * 5.0 / (2 * math.log(2)))
    assert buf[fair_value.MOVE_SD] * deviation == pytest.approx(twin.move(), abs=1e-9)


@pytest.mark.parametrize("gaps", [(1.0,), (0.5, 2.0, 1.0, 4.0), (0.1, 0.1, 3.0)])
def test_the_variance_of_a_random_walk_is_found_at_any_sampling(gaps: tuple[float, ...]) -> None:
    """4e-9 per second is found within 10 % on average over an hour, however the prints are spaced."""
    chance = random.Random(7)
    buf = statistics()
    price, ts_ns, found = 65_000.0, T0_NS, []
    for number in range(6_000):
        gap_s = gaps[number % len(gaps)]
        price *= math.exp(chance.gauss(0, math.sqrt(4e-9 * gap_s)))
        ts_ns += int(gap_s * SECOND_NS)
        fair_value.observe(buf, price, ts_ns)
        found.append(buf[fair_value.VARIANCE_PER_S])
    assert sum(found[1_000:]) / len(found[1_000:]) == pytest.approx(4e-9, rel=0.1)


def test_the_half_life_is_thirty_seconds() -> None:
    """After thirty silent-flat seconds half of the variance is left."""
    buf = statistics()
    for second in range(31):
        fair_value.observe(buf, 65_000.0, T0_NS + second * SECOND_NS)
    assert buf[fair_value.VARIANCE_PER_S] == pytest.approx(VARIANCE / 2)


def test_one_absurd_print_changes_nothing() -> None:
    """A price of half its value between two good ones leaves variance, drift, price and move as without it."""
    with_it, without = statistics(), statistics()
    for second in range(40):
        price, ts_ns = 65_000.0 + second % 3, T0_NS + second * SECOND_NS
        if second == 20:
            assert fair_value.observe(with_it, 32_500.0, ts_ns - 1_000_000) == fair_value.SUSPECT
        fair_value.observe(with_it, price, ts_ns)
        fair_value.observe(without, price, ts_ns)
    assert with_it[: fair_value.STATISTICS_WORDS].tolist() == without[: fair_value.STATISTICS_WORDS].tolist()


def test_a_jump_that_stays_is_believed_at_its_second_print() -> None:
    """A real gap of 1 % is the price one print later, and the variance knows of it."""
    buf = statistics()
    for second in range(10):
        fair_value.observe(buf, 65_000.0, T0_NS + second * SECOND_NS)
    answers = [fair_value.observe(buf, 65_650.0 + n, T0_NS + (10 + n) * SECOND_NS) for n in range(2)]
    assert answers == [fair_value.SUSPECT, fair_value.TAKEN]
    assert buf[fair_value.PRICE] == 65_651.0
    assert buf[fair_value.VARIANCE_PER_S] > 50 * VARIANCE


def test_doubt_ends_after_three_prints() -> None:
    """Prints that agree with nothing are believed at the fourth: a feed cannot silence the statistics for ever."""
    buf = statistics()
    fair_value.observe(buf, 65_000.0, T0_NS)
    answers = [
        fair_value.observe(buf, price, T0_NS + (n + 1) * SECOND_NS)
        for n, price in enumerate((30_000.0, 1_000.0, 500_000.0, 10.0))
    ]
    assert answers == [fair_value.SUSPECT] * 3 + [fair_value.TAKEN]


def test_a_move_is_measured_in_its_own_deviations() -> None:
    """Over a long random walk the move has mean 0 and deviation 1; a real rise shows with its sign."""
    chance = np.random.default_rng(3)
    prices = 65_000.0 * np.exp(np.cumsum(chance.normal(size=20_000) * math.sqrt(VARIANCE)))
    buf = statistics(half_life_s=300.0)
    moves = []
    for second, price in enumerate(prices):
        fair_value.observe(buf, float(price), T0_NS + second * SECOND_NS)
        moves.append(buf[fair_value.MOVE_SD])
    assert np.mean(moves) == pytest.approx(0.0, abs=0.1)
    assert np.std(moves) == pytest.approx(1.0, abs=0.12)
    fair_value.observe(buf, float(prices[-1]) * 1.0008, T0_NS + len(prices) * SECOND_NS)
    assert buf[fair_value.MOVE_SD] > 2.5


def test_the_closing_mean_takes_each_whole_second_once() -> None:
    """Between prints the last one stands, exact seconds take their own print, and the window has an end."""
    average = fair_value.create_average(end_s=1_000, samples=5)  # seconds 996 to 1,000
    for price, ts_s in ((10.0, 990.0), (20.0, 996.0), (30.0, 997.5), (40.0, 999.9)):
        fair_value.average_price(average, price, int(ts_s * SECOND_NS))
    assert average[:2].tolist() == [20.0 + 20.0 + 30.0 + 30.0, 4.0]
    fair_value.average_until(average, 1_000 * SECOND_NS)
    fair_value.average_price(average, 99.0, 1_001 * SECOND_NS)
    assert average[:2].tolist() == [140.0, 5.0]


def test_seconds_before_the_first_print_count_with_it() -> None:
    """A feed that joins inside the last minute fills what it missed with what it sees first."""
    average = fair_value.create_average(end_s=1_000, samples=5)
    fair_value.average_until(average, 997 * SECOND_NS)
    assert average[:2].tolist() == [0.0, 0.0]
    fair_value.average_price(average, 7.0, 998 * SECOND_NS)
    fair_value.average_until(average, 998 * SECOND_NS)
    assert average[:2].tolist() == [21.0, 3.0]


def test_impossible_statistics_are_refused() -> None:
    """A half-life of nothing has no meaning."""
    with pytest.raises(ValueError, match="above zero"):
        statistics(half_life_s=0.0)


def digest_of_all() -> str:
    """The bits of statistics and probabilities of many prints."""
    digest = hashlib.sha256()
    for seed in range(6):
        buf = statistics()
        for price, ts_ns in random_prints(seed, 200):
            fair_value.observe(buf, price, ts_ns)
            if buf[fair_value.PRICE]:
                value = up(buf[fair_value.PRICE], ts_ns % 900 + 0.5, start=65_000.0, samples=60 * (seed % 2))
                digest.update(np.float64(value).tobytes())
        digest.update(buf.tobytes())
    return digest.hexdigest()


def test_compiled_and_interpreted_kernels_agree_to_the_last_bit() -> None:
    """Without the compiler the same prints leave the same bytes, so a replay may run either way."""
    assert interpreted(__name__) == digest_of_all()


def test_warming_up_compiles_the_signatures_that_traders_call() -> None:
    """After it, a print and a value need no further compilation."""
    fair_value.warm_up()
    kernels = (fair_value.observe, fair_value.up_probability, fair_value.market_up)
    known = [len(getattr(kernel, "signatures", [])) for kernel in kernels]
    buf = statistics()
    fair_value.observe(buf, 65_000.0, T0_NS)
    up(65_000.0, 60.0)
    fair_value.market_up(np.array([49, 51, 49, 51], dtype=np.int64), 100, 10)
    assert [len(getattr(kernel, "signatures", [])) for kernel in kernels] == known
