"""Up/down windows of the testnet: there ahead of time, decided by the rule that holds, from the prices that were seen.

Bugs that were planted, and made this fail: the mean over one second too many; a boundary's price stamped a second
late; a tie as Down.
"""

from __future__ import annotations

import pytest

from agora.domain.dice import dice_of
from agora.domain.numbers import NS_PER_S
from agora.exchange.binary import BinaryExchange
from agora.exchange.binary_records import MarketState, Outcome
from agora.exchange.binary_rules import BinaryRules
from agora.testnet.polymarket_windows import ResolutionRule, Windows, WindowSettings, condition_of, slug_of, token_of

START_S = 1_800_000_000 // 300 * 300


class Venue:
    """Windows of five minutes and a clock that goes second by second."""

    def __init__(self, **settings: object) -> None:
        self.exchange = BinaryExchange(BinaryRules(order_capacity=64, account_capacity=8), dice_of(1, "test"))
        self.exchange.advance((START_S - 100) * NS_PER_S)
        terms = {"lengths_s": (300,), "resolve_after_s": 60, **settings}
        self.windows = Windows(self.exchange, WindowSettings(**terms))  # type: ignore[arg-type]

    def pass_seconds(self, first: int, last: int, *, price: float) -> None:
        """So many whole seconds, counted from the start of the window, with one price."""
        for second in range(first, last + 1):
            self.exchange.step((START_S + second) * NS_PER_S)
            self.windows.observe(self.exchange.now_ns, price)

    @property
    def condition_id(self) -> str:
        """The window that starts at second 0."""
        return condition_of(1, slug_of(300, START_S))


# The prices of the last 60 s before the start, of the window until a minute before its end, and of its last seconds:
# (from second, price). Then the price to beat, the final price and the winner.
SPOT, TWAP30, TWAP60 = ResolutionRule
CASES = (
    (SPOT, 100.0, [(1, 101.0)], 100.0, 101.0, Outcome.UP),
    (SPOT, 100.0, [(1, 101.0), (300, 99.0)], 100.0, 99.0, Outcome.DOWN),
    (SPOT, 100.0, [(1, 99.0), (300, 100.0)], 100.0, 100.0, Outcome.UP),
    (TWAP60, 100.0, [(1, 100.0), (300, 160.0)], 100.0, 101.0, Outcome.UP),
    (TWAP60, 100.0, [(1, 90.0), (241, 100.0)], 100.0, 100.0, Outcome.UP),
    (TWAP60, 100.0, [(1, 110.0), (241, 98.0)], 100.0, 98.0, Outcome.DOWN),
    (TWAP60, 100.0, [(1, 110.0), (271, 98.0)], 100.0, 104.0, Outcome.UP),
    (TWAP30, 100.0, [(1, 110.0), (271, 98.0)], 100.0, 98.0, Outcome.DOWN),
)


@pytest.mark.parametrize("rule, before, path, start, end, winner", CASES)
def test_a_window_is_decided_by_the_rule_from_the_prices_that_were_seen(
    rule: ResolutionRule, before: float, path: list[tuple[int, float]], start: float, end: float, winner: Outcome
) -> None:
    """The mean of the whole seconds up to each boundary, or the print there; a tie is Up."""
    venue = Venue(rule=rule)
    venue.pass_seconds(-90, 0, price=before)
    for (first, price), following in zip(path, [*path[1:], (301, 0.0)], strict=True):
        venue.pass_seconds(first, following[0] - 1, price=price)
    settlement = venue.windows.settlement(venue.condition_id)
    assert settlement is not None
    assert (settlement.price_to_beat, settlement.final_price) == (start, pytest.approx(end))
    venue.pass_seconds(301, 359, price=1.0)
    assert venue.exchange.market(venue.condition_id).state is MarketState.CLOSED
    venue.pass_seconds(360, 360, price=1.0)
    assert venue.exchange.market(venue.condition_id).winner is winner


def test_what_one_window_ends_with_the_next_has_to_beat() -> None:
    """One price at each boundary."""
    venue = Venue()
    for second in range(-90, 700):
        venue.pass_seconds(second, second, price=100.0 + second % 7)
    first, second = (venue.windows.settlement(condition_of(1, slug_of(300, START_S + shift))) for shift in (0, 300))
    assert first is not None
    assert second is not None
    assert first.final_price == second.price_to_beat is not None


def test_windows_are_there_ahead_of_time_and_take_orders_at_once() -> None:
    """The current one and so many more of each length, never two of the same."""
    venue = Venue(lengths_s=(300, 900), ahead=3)
    venue.pass_seconds(0, 400, price=100.0)
    markets = venue.exchange.markets()
    assert all(market.state in {MarketState.OPEN, MarketState.CLOSED, MarketState.RESOLVED} for market in markets)
    for length_s in (300, 900):
        current = venue.windows.current(length_s)
        assert current is not None
        starts = sorted(
            market.start_ns
            for market in markets
            if market.end_ns - market.start_ns == length_s * NS_PER_S and market.start_ns >= current.window.start_ns
        )
        assert starts == [current.window.start_ns + n * length_s * NS_PER_S for n in range(4)]
    assert len({market.condition_id for market in markets}) == len(markets)


def test_a_testnet_that_starts_in_a_window_or_sleeps_through_an_end_decides_it_with_what_it_knows() -> None:
    """Nothing stays undecided."""
    venue = Venue()
    venue.pass_seconds(150, 150, price=100.0)
    venue.pass_seconds(500, 500, price=99.0)
    market = venue.exchange.market(venue.condition_id)
    assert (market.state, market.winner) == (MarketState.RESOLVED, Outcome.DOWN)


def test_names_look_like_the_venues_and_depend_on_the_seed() -> None:
    """64 hexadecimal digits; a decimal number of 256 bits that no client takes for another protocol's position."""
    condition = condition_of(1, slug_of(900, START_S))
    assert (len(condition), condition[:2]) == (66, "0x")
    assert condition != condition_of(2, slug_of(900, START_S))
    tokens = [token_of(1, slug_of(900, START_S), outcome) for outcome in ("up", "down")]
    assert len(set(tokens)) == 2
    for token in tokens:
        assert 2**250 < int(token) < 2**256
        assert int(token) >> 40 & (2**64 - 1)


def test_the_seconds_that_were_seen_can_be_shown() -> None:
    """The newest with their times, and their mean."""
    venue = Venue()
    venue.pass_seconds(-3, -1, price=100.0)
    venue.pass_seconds(0, 0, price=104.0)
    assert venue.windows.recent(2) == [(START_S - 1, 100.0), (START_S, 104.0)]
    assert venue.windows.average(4) == 101.0
