"""What the market's others believe: the formula of the desk, fed with what the venue has seen."""

from __future__ import annotations

import pytest

from agora.domain.dice import dice_of
from agora.domain.numbers import NS_PER_S
from agora.exchange.binary import BinaryExchange
from agora.exchange.binary_rules import BinaryRules
from agora.testnet.polymarket_value import UNDECIDED, WindowValue
from agora.testnet.polymarket_windows import ResolutionRule, Windows, WindowSettings

START_S = 1_800_000_000


class Venue:
    """Windows of 15 minutes by one rule."""

    def __init__(self, rule: ResolutionRule) -> None:
        self.exchange = BinaryExchange(BinaryRules(order_capacity=16, account_capacity=2), dice_of(1, "test"))
        self.windows = Windows(self.exchange, WindowSettings(rule=rule))
        self.value = WindowValue(self.windows, rule, variance_per_s=1e-8)

    def observe(self, second: int, price: float) -> None:
        """A second, counted from the start of the window."""
        self.exchange.advance((START_S + second) * NS_PER_S)
        self.windows.observe(self.exchange.now_ns, price)
        self.value.observe(self.exchange.now_ns, price)

    def current(self) -> float | None:
        """What the window that runs now is worth."""
        settlement = self.windows.current(900)
        assert settlement is not None
        return self.value(self.exchange.market(settlement.window.condition_id))


@pytest.mark.parametrize(
    "second, price, expected",
    [(1, 100_050.0, 0.5662), (600, 100_050.0, 0.6136), (840, 100_050.0, 0.7406), (600, 99_900.0, 0.2818)],
)
def test_by_the_last_print_it_is_the_reference_value(second: int, price: float, expected: float) -> None:
    """Start 100,000, variance 1e-8 a second; the figures of the desk's own formula."""
    venue = Venue(ResolutionRule.SPOT)
    venue.observe(0, 100_000.0)
    venue.observe(second, price)
    assert venue.current() == pytest.approx(expected, abs=3e-4)


def test_by_an_average_the_seconds_that_were_seen_are_fixed() -> None:
    """Half of the last minute far above leaves the other half no way back."""
    venue = Venue(ResolutionRule.TWAP60)
    for second in range(871):
        venue.observe(second, 100_000.0 if second <= 840 else 100_100.0)
    before = venue.current()
    assert before is not None
    assert before > 0.99
    venue.observe(871, 99_950.0)
    after = venue.current()
    assert after is not None
    assert after > 0.9  # by the last print alone it would be far below one half


def test_a_window_that_has_not_begun_is_open_and_without_a_price_there_is_no_value() -> None:
    """One half, and nothing."""
    venue = Venue(ResolutionRule.TWAP60)
    venue.exchange.advance(START_S * NS_PER_S)
    venue.windows.observe(venue.exchange.now_ns, 100_000.0)
    current, following, *_ = venue.exchange.markets()
    assert venue.value(current) is None
    venue.observe(1, 100_000.0)
    assert venue.value(following) == UNDECIDED
