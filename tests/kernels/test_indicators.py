"""Indicators: equal to their definitions, equal compiled or not, and of constant cost."""

from __future__ import annotations

import hashlib
import random

import pytest

from agora.kernels import indicators
from tests.kernels.indicators_twin import DAY_NS, Twin, TwinBar
from tests.kernels.interpreted import interpreted

MINUTE_NS = 60 * 10**9
START_NS = 20_000 * DAY_NS - 40 * MINUTE_NS  # every stream crosses a midnight after 40 bars


def random_bars(seed: int, count: int) -> list[TwinBar]:
    """A seeded walk in ticks with silent bars, gaps and bars without a range."""
    chance = random.Random(seed)
    bars = []
    close = float(chance.randrange(1_000, 2_000_000))
    for number in range(1, count + 1):
        open_ = max(50.0, close + chance.choice((0, 0, 0, -37, 55)))
        close = max(50.0, open_ + chance.randrange(-30, 31))
        reach = chance.choice((0, 1, 20))
        low, high = min(open_, close) - chance.randint(0, reach), max(open_, close) + chance.randint(0, reach)
        volume = float(chance.choice((0, 1, 7, 50_000)))
        bars.append(TwinBar(open_, high, low, close, volume, START_NS + number * MINUTE_NS))
    return bars


def fed(lengths: tuple[int, int, int, int], bars: list[TwinBar]) -> indicators.Figures:
    """A buffer after these bars."""
    fast, slow, atr, swing = lengths
    buf = indicators.create(fast_bars=fast, slow_bars=slow, atr_bars=atr, swing_bars=swing)
    for bar in bars:
        indicators.update(buf, *bar)
    return buf


@pytest.mark.requirement("B38")
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("lengths", [(20, 50, 14, 10), (2, 3, 1, 1), (5, 12, 30, 40)])
def test_every_figure_equals_its_definition_over_the_whole_history(
    lengths: tuple[int, int, int, int], seed: int
) -> None:
    """The incremental figures after each bar are those of a twin that looks at everything again."""
    fast, slow, atr, swing = lengths
    twin = Twin(fast, slow, atr, swing)
    buf = indicators.create(fast_bars=fast, slow_bars=slow, atr_bars=atr, swing_bars=swing)
    for bar in random_bars(seed, 130):
        indicators.update(buf, *bar)
        twin.bars.append(bar)
        assert buf[: indicators.FIGURE_WORDS].tolist() == pytest.approx(twin.figures(), rel=1e-11, abs=1e-6)


def digest_of_all() -> str:
    """The bits of many buffers after many bars."""
    digest = hashlib.sha256()
    for seed in range(20):
        digest.update(fed((20, 50, 14, 10), random_bars(seed, 200)).tobytes())
    return digest.hexdigest()


def test_compiled_and_interpreted_kernels_agree_to_the_last_bit() -> None:
    """Without the compiler the same bars leave the same bytes, so a replay may run either way."""
    assert interpreted(__name__) == digest_of_all()


@pytest.mark.requirement("B38")
def test_the_buffer_has_one_size_for_ever() -> None:
    """Cost cannot grow with history, because there is nowhere to keep it."""
    sizes = {fed((20, 50, 14, 10), random_bars(1, count)).nbytes for count in (0, 1, 60, 3_000)}
    assert len(sizes) == 1
    assert sizes.pop() < 512


def test_a_bar_that_closes_at_midnight_belongs_to_the_day_before() -> None:
    """The session begins anew with the first bar that lies inside the new day."""
    midnight = 20_000 * DAY_NS
    buf = indicators.create(fast_bars=2, slow_bars=3, atr_bars=1, swing_bars=1)
    readings = []
    for price, ts_ns in ((100.0, midnight - MINUTE_NS), (200.0, midnight), (400.0, midnight + MINUTE_NS)):
        indicators.update(buf, price, price, price, price, 10.0, ts_ns)
        readings.append(float(buf[indicators.SESSION_VWAP]))
    assert readings == [100.0, 150.0, 400.0]


def test_a_silent_bar_weighs_one_lot_in_the_session() -> None:
    """A feed of quotes has no volume, and still has an average price."""
    buf = indicators.create(fast_bars=2, slow_bars=3, atr_bars=1, swing_bars=1)
    indicators.update(buf, 100.0, 100.0, 100.0, 100.0, 3.0, MINUTE_NS)
    indicators.update(buf, 200.0, 200.0, 200.0, 200.0, 0.0, 2 * MINUTE_NS)
    assert buf[indicators.SESSION_VWAP] == 125.0


def test_a_saved_buffer_goes_on_where_it_stopped() -> None:
    """Saved as a list of numbers and restored, the next bars leave the same bytes."""
    bars = random_bars(5, 300)
    whole = fed((20, 50, 14, 10), bars)
    half = fed((20, 50, 14, 10), bars[:123])
    again = indicators.restored(fed((20, 50, 14, 10), []), half.tolist())
    for bar in bars[123:]:
        indicators.update(again, *bar)
    assert again.tobytes() == whole.tobytes()


@pytest.mark.parametrize("lengths", [(20, 50, 14, 11), (21, 50, 14, 10)])
def test_a_buffer_of_other_lengths_is_refused(lengths: tuple[int, int, int, int]) -> None:
    """Figures computed with other settings are not continued silently."""
    with pytest.raises(ValueError, match="expected indicators of"):
        indicators.restored(fed((20, 50, 14, 10), []), fed(lengths, []).tolist())


def test_lengths_below_one_bar_are_refused() -> None:
    """A length of zero has no meaning."""
    with pytest.raises(ValueError, match="at least one bar"):
        indicators.create(fast_bars=0, slow_bars=3, atr_bars=1, swing_bars=1)


def test_warming_up_compiles_the_signature_that_traders_call() -> None:
    """After it, a bar given as traders give it needs no further compilation."""
    indicators.warm_up()
    known = len(getattr(indicators.update, "signatures", []))
    fed((20, 50, 14, 10), random_bars(1, 3))
    assert len(getattr(indicators.update, "signatures", [])) == known
