"""The background population: reproducible, bounded, conserving, and each kind recognisably itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from agora.kernels import population as kernel
from agora.kernels.matching_layout import ASK_PRICE, BID_PRICE, CANCEL_OLDEST, IOC, MARKET, ORDER_COUNT
from agora.kernels.population_layout import (
    AGENT_WORDS,
    KINDS,
    MAKER,
    MOMENTUM,
    NOISE,
    SPLITTER,
    STARTS,
    VALUE,
)
from agora.kernels.settlement import exchange_submit
from agora.kernels.settlement_layout import LAST_ORDER_ID
from agora.market.population_settings import PopulationSettings
from tests.kernels.population_market import Market, new_market, plan_of, random_words

ROOT = Path(__file__).resolve().parents[2]
NOBODY = {"noise_agents": 0, "momentum_agents": 0, "value_agents": 0, "makers": 0, "splitters": 0}
QUIET = {"fundamental_bps_per_s": 0.0, "jumps_per_h": 0.0, "volatility_spread": 0.0, "rate_spread": 0.0}


def market_of(seed: int, **changed: Any) -> Market:
    """A market without news of its own in which only the named kinds take part."""
    return new_market(seed, **{**NOBODY, **QUIET, **changed})


def gained_lots(market: Market, kind: int) -> int:
    """What the agents of a kind own beyond what they began with."""
    first, last = market.population[STARTS + kind : STARTS + kind + 2].tolist()
    return sum(market.lots_of(agent) for agent in range(first, last)) - sum(
        market.settings.inventory_lots()[first:last]
    )


def outsider_takes(market: Market, side: int, lots: int) -> None:
    """Let the outsider trade at market."""
    exchange_submit(
        *(market.book, market.accounts, market.tape, market.out, 0, int(market.accounts[LAST_ORDER_ID]) + 1, 0),
        *(side, MARKET, IOC, 0, 0, 0, lots, 0, CANCEL_OLDEST, market.now_ns),
    )


def twice_mid(market: Market) -> int:
    """Bid plus ask."""
    assert market.book[BID_PRICE] > 0
    assert market.book[ASK_PRICE] > 0
    return int(market.book[BID_PRICE] + market.book[ASK_PRICE])


class TestReproducible:
    """The same seed, the same bits."""

    def test_same_seed_same_bits(self) -> None:
        """Two runs of a seed agree in every word of every buffer; another seed does not."""
        digests = []
        for seed in (5, 5, 6):
            market = new_market(seed)
            market.run(300)
            digests.append(market.digest())
        assert digests[0] == digests[1]
        assert digests[0] != digests[2]

    def test_single_steps_are_the_same_run(self) -> None:
        """Many steps in one call and one call per step end in the same buffers."""
        together, apart = new_market(9), new_market(9)
        together.run(200)
        for _ in range(200):
            apart.step()
        assert together.digest() == apart.digest()

    def test_plain_python_gives_the_same_bits(self) -> None:
        """Without the compiler the same code ends in the same buffers, and no product leaves 64 bits."""
        program = (
            "from tests.kernels.population_market import new_market\n"
            "market = new_market(3, noise_agents=60, momentum_agents=12, value_agents=28, makers=4, splitters=9)\n"
            "market.run(60)\n"
            "print(market.digest())\n"
        )
        environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT)}
        words = [sys.executable, "-W", "error", "-c", program]
        plain = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        market = new_market(3, noise_agents=60, momentum_agents=12, value_agents=28, makers=4, splitters=9)
        market.run(60)
        assert plain.stdout.strip() == market.digest()


class TestBounded:
    """What a population costs, and what it may do to the exchange."""

    def test_memory_is_linear_in_agents(self) -> None:
        """Each further agent costs the same 64 bytes."""
        sizes = []
        for agents in (1_000, 2_000, 10_000):
            settings = msgspec.structs.replace(PopulationSettings(), noise_agents=agents)
            words = kernel.new_population(
                plan_of(settings), random_words(1), asset=0, listing_price=10_000, first_account=0
            )
            sizes.append(words.nbytes)
        assert sizes[1] - sizes[0] == 1_000 * AGENT_WORDS * 8
        assert sizes[2] - sizes[1] == 8_000 * AGENT_WORDS * 8

    def test_ten_thousand_agents_trade(self) -> None:
        """A market of ten thousand runs within its bound on orders, and nothing leaks."""
        market = new_market(2, noise_agents=5_500, momentum_agents=1_100, value_agents=2_500, makers=90, splitters=810)
        steps, signs, _ = market.run(300)
        assert len(signs) > 1_000
        assert steps[60:, kernel.STEP_ONE_SIDED].sum() == 0
        assert market.book[ORDER_COUNT] <= kernel.orders_max(market.population)
        assert market.fault() == 0

    def test_money_and_units_are_conserved(self) -> None:
        """Holds, cash, fees and units add up after thousands of steps of trading, checked again and again."""
        market = new_market(4)
        for _ in range(10):
            market.run(500)
            assert market.fault() == 0
        assert kernel.orders_sent(market.population) > 20_000

    def test_orders_in_the_book_stay_bounded(self) -> None:
        """Agents replace their orders, so the book never holds more than one or two of each."""
        market = new_market(8)
        most = 0
        for _ in range(40):
            market.run(50)
            most = max(most, int(market.book[ORDER_COUNT]))
        assert 300 < most <= kernel.orders_max(market.population)

    def test_hardly_an_order_is_refused(self) -> None:
        """In the default market agents can pay what they send: less than one in a thousand is refused."""
        market = new_market(8)
        market.run(5_000)
        assert kernel.orders_refused(market.population) * 1_000 < kernel.orders_sent(market.population)

    def test_poor_agents_do_no_harm(self) -> None:
        """Agents with hardly anything send what they can pay, and nothing leaks."""
        market = new_market(8, orders_owned=1, maker_quotes_owned=1, parents_owned=1)
        market.run(2_000)
        assert market.fault() == 0
        assert kernel.orders_sent(market.population) > 1_000

    @pytest.mark.parametrize("listing_price", [1, 20, 2**32])
    def test_any_price_level_works(self, listing_price: int) -> None:
        """From a price of a single tick to billions of them the population trades and nothing leaks."""
        market = new_market(8, listing_price=listing_price, lots_unit=1)
        market.run(500)
        assert market.fault() == 0
        assert market.book[ORDER_COUNT] > 0

    @pytest.mark.parametrize(
        "changed, price",
        [(NOBODY, 10_000), ({}, 0), ({}, 2**32 + 1), ({"order_lots": 0}, 10_000), ({"makers": -1}, 10_000)],
    )
    def test_what_cannot_work_is_refused(self, changed: dict[str, int], price: int) -> None:
        """No agents, impossible counts and sizes, and prices beyond the arithmetic raise ValueError."""
        plan = plan_of(PopulationSettings())._replace(**changed)
        with pytest.raises(ValueError, match="between"):
            kernel.new_population(plan, random_words(1), asset=0, listing_price=price, first_account=0)


class TestKinds:
    """Each kind does what its name says."""

    @pytest.mark.parametrize("side", [1, -1])
    def test_momentum_agents_follow_a_move(self, side: int) -> None:
        """After value and price jumped by 2 %, momentum agents trade in that direction."""
        market = market_of(1, makers=10, momentum_agents=200, momentum_wait_s=20.0)
        market.run(300)
        before = gained_lots(market, MOMENTUM)
        kernel.shock(market.population, side * 20_000, 0)
        market.run(120)
        assert side * (gained_lots(market, MOMENTUM) - before) > 100

    @pytest.mark.parametrize("side", [1, -1])
    def test_value_agents_trade_towards_value(self, side: int) -> None:
        """With value 1 % away, value agents buy below it or sell above it, and take the price along."""
        market = market_of(1, noise_agents=300, value_agents=200, value_wait_s=100.0, noise_wait_s=50.0)
        market.run(600)
        before, price = gained_lots(market, VALUE), twice_mid(market)
        kernel.shock(market.population, side * 10_000, 0)
        market.run(300)
        assert side * (gained_lots(market, VALUE) - before) > 1_000
        assert side * (twice_mid(market) - price) > 100

    def test_makers_quote_both_sides_around_value(self) -> None:
        """Makers alone keep a narrow two-sided market at value, and never trade with one another."""
        market = market_of(1, makers=10)
        steps, signs, _ = market.run(200)
        assert len(signs) == 0
        assert steps[1:, kernel.STEP_ONE_SIDED].sum() == 0
        assert np.abs(steps[1:, kernel.STEP_TWICE_MID] - 20_000).max() <= 4
        assert np.median(steps[1:, kernel.STEP_SPREAD]) <= 4

    def test_makers_widen_after_moves(self) -> None:
        """Spreads are wider while prices move a lot."""
        market = market_of(1, makers=10, listing_price=100_000)
        calm = np.median(market.run(200)[0][100:, kernel.STEP_SPREAD])
        for number in range(20):
            kernel.shock(market.population, 2_000 if number % 2 else -2_000, 0)
            market.run(5)
        assert np.median(market.run(10)[0][:, kernel.STEP_SPREAD]) > 1.5 * calm

    @pytest.mark.parametrize("side", [1, -1])
    def test_quotes_lean_with_an_outsiders_flow_and_come_back(self, side: int) -> None:
        """An outsider's buying lifts the quotes while it lasts; later most of that is gone again."""
        market = market_of(1, makers=20)
        market.run(60)
        start = twice_mid(market)
        for _ in range(30):
            outsider_takes(market, side, 40)
            market.run(1)
        market.run(1)
        moved = side * (twice_mid(market) - start)
        market.run(1_500)
        left = side * (twice_mid(market) - start)
        assert moved > 10
        assert left < moved / 2

    def test_noise_takes_no_side(self) -> None:
        """Noise agents buy as often as they sell, with orders on both sides within their reach."""
        market = market_of(1, noise_agents=300, makers=5, noise_wait_s=20.0, noise_market_share=0.5)
        _, signs, _ = market.run(3_000)
        assert len(signs) > 10_000
        assert abs(signs.mean()) < 5 / np.sqrt(len(signs)) + 0.02
        assert abs(gained_lots(market, NOISE)) < 0.05 * 10 * len(signs)

    def test_splitters_work_one_side_for_long(self) -> None:
        """Order signs remember the splitters' parents over tens of orders, and noise alone does not."""
        memories = []
        for changed in ({"splitters": 20, "parent_wait_s": 300.0}, {"noise_agents": 300, "noise_market_share": 0.5}):
            _, signs, _ = market_of(1, makers=10, **changed).run(6_000)
            memories.append(float((signs[10:] * signs[:-10]).mean()))
        assert memories[0] > 0.1
        assert abs(memories[1]) < 0.05

    def test_sizes_of_parents_follow_a_power_law(self) -> None:
        """About 4**-1.5 of the finished parents are four times the smallest; what was traded is what is told."""
        market = market_of(1, makers=20, splitters=200, child_wait_s=1.0, parent_wait_s=100.0)
        _, _, parents = market.run(3_000)
        lots = parents[:, 1]
        assert len(lots) > 1_000
        assert lots.min() >= 1
        assert (lots >= 4 * 32).mean() == pytest.approx(4**-1.5, abs=0.04)
        assert set(parents[:, 0].tolist()) == {-1, 1}
        assert (parents[:, 5] >= parents[:, 4]).all()

    def test_a_shock_excites(self) -> None:
        """After news without a direction more orders come than before."""
        market = new_market(1, rate_spread=0.8)
        before = market.run(300)[0][:, kernel.STEP_LOTS].sum()
        kernel.shock(market.population, 0, 6_000_000)
        assert market.run(300)[0][:, kernel.STEP_LOTS].sum() > 1.5 * before

    def test_kinds_are_complete(self) -> None:
        """The agents of the kinds are all agents."""
        market = new_market(1)
        counts = np.diff(market.population[STARTS : STARTS + KINDS + 1])
        named = [NOISE, MOMENTUM, VALUE, MAKER, SPLITTER]
        assert counts[named].tolist() == [600, 120, 280, 10, 90]
        assert counts.sum() == market.settings.agents
