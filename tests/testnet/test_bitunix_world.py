"""The market of the loopback Bitunix: quotes, trades, prices, funding, the past, recordings, and time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from agora.domain.errors import UsageFault
from agora.domain.numbers import NS_PER_S
from agora.domain.orders import Side
from agora.exchange.perp_records import (
    Effect,
    OrderChanged,
    PerpOrder,
    PerpRequest,
    PerpStatus,
    PerpType,
    PositionChanged,
    PublicTrade,
    TriggerBy,
)
from agora.testnet.bitunix_seconds import SHORT_INTERVALS_S
from agora.testnet.bitunix_settings import BitunixTestnetSettings
from agora.testnet.bitunix_world import World
from tests.simulation.loop import VirtualClock, run_virtual
from tests.testnet.bitunix_bench import BTC, ETH, START_NS
from tests.venues.virtual import after

Result = TypeVar("Result")
USDT = 10**8


def watched(story: Callable[[World], Coroutine[Any, Any, Result]], **settings: Any) -> Result:
    """Let a market live while a story is told; its books are sound at the end."""

    async def play() -> Result:
        world = World(BitunixTestnetSettings(**{"history_minutes": 5, **settings}), VirtualClock())
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(world.run())
            try:
                result = await story(world)
            finally:
                running.cancel()
        world.exchange.check()
        return result

    return run_virtual(play(), seed=1, start_ns=START_NS)


def number_of(world: World) -> int:
    """The first account."""
    return next(iter(world.accounts.values())).number


def order(world: World, side: Side, lots: int, price_ticks: int = 0, **terms: Any) -> PerpOrder:
    """An order of the first account, at market without a price."""
    world.catch_up()
    kind = PerpType.LIMIT if price_ticks else PerpType.MARKET
    request = PerpRequest(symbol=BTC, side=side, size_lots=lots, type=kind, price_ticks=price_ticks, **terms)
    placed = world.exchange.submit(number_of(world), request)
    world.publish()
    return placed


def now(world: World, placed: PerpOrder) -> PerpOrder:
    """An order as it is now."""
    found = world.exchange.order(placed.account, placed.order_id)
    assert found is not None
    return found


def test_fifteen_levels_stand_around_the_reference_at_all_times() -> None:
    """On both sides of both symbols, best first, uncrossed, and the best within the quoted spread and a move."""

    async def story(world: World) -> None:
        for _ in range(300):
            await after(0.2)
            for symbol, reference in world.references().items():
                depth = world.exchange.depth(symbol, 100)
                bids, asks = ([level.price_ticks for level in side] for side in (depth.bids, depth.asks))
                assert min(len(bids), len(asks)) >= 15
                assert bids == sorted(set(bids), reverse=True)
                assert asks == sorted(set(asks))
                assert bids[0] < asks[0]
                tick = float(world.exchange.listing(symbol).instrument.tick)
                assert abs((bids[0] + asks[0]) / 2 * tick / reference - 1) < 0.004

    watched(story)


@pytest.mark.parametrize("spread_bps", [0.5, 20.0])
def test_the_best_quotes_are_as_far_apart_as_was_set(spread_bps: float) -> None:
    """To the tick, around the reference, when they have just been renewed."""

    async def story(world: World) -> None:
        await after(10)
        world.move(None, 0.001)
        for symbol, reference in world.references().items():
            middle = reference / float(world.exchange.listing(symbol).instrument.tick)
            touch = world.exchange.book(symbol).touch()
            half = max(middle * spread_bps / 20_000, 0.5)
            assert 0 <= middle - half - touch.bid_ticks <= 1
            assert 0 <= touch.ask_ticks - middle - half <= 1

    watched(story, spread_bps=spread_bps)


def test_a_second_opens_with_its_first_trade() -> None:
    """And ends with its last; one without trades repeats the close before it."""

    async def story(world: World) -> None:
        prints: list[PublicTrade] = []
        world.listen(lambda changes: prints.extend(one for one in changes if isinstance(one, PublicTrade)))
        await after(20)
        bars = world.bars(BTC, "1s", limit=21, end_ns=world.now_ns())
        for before, bar in itertools.pairwise(bars):
            inside = [
                one.price_ticks
                for one in prints
                if one.symbol == BTC and bar.start_ns <= one.ts_ns < bar.start_ns + NS_PER_S
            ]
            expected = [inside[0], inside[-1]] if inside else [before.close_ticks] * 2
            assert [bar.open_ticks, bar.close_ticks] == expected
            assert bar.trades == len(inside)

    watched(story)


def test_a_seed_is_one_market_and_another_seed_another() -> None:
    """Everything that is told, the depth and the candles, to the last value."""

    def play(seed: int) -> list[Any]:
        async def story(world: World) -> list[Any]:
            changes: list[Any] = []
            world.listen(changes.extend)
            await after(30)
            return [*changes, world.exchange.depth(ETH, 20), world.bars(BTC, "5s", limit=9, end_ns=world.now_ns())]

        return watched(story, seed=seed)

    first = play(4)
    assert len(first) > 100
    assert first == play(4)
    assert first != play(5)


def test_symbols_have_prices_of_their_own() -> None:
    """Returns of two symbols under one seed are not those of one walk."""

    async def story(world: World) -> dict[str, list[float]]:
        seen: dict[str, list[float]] = {symbol: [] for symbol in world.symbols}
        for _ in range(60):
            await after(1)
            for symbol, price in world.references().items():
                seen[symbol].append(price)
        return seen

    seen = watched(story)
    signs = [[a < b for a, b in itertools.pairwise(prices)] for prices in seen.values()]
    agreeing = sum(one == other for one, other in zip(*signs, strict=True))
    assert 10 < agreeing < 50


def test_others_trade_with_one_another_and_with_us() -> None:
    """Prints come at the rate that was set; an order at the touch is filled by others as a maker."""

    async def story(world: World) -> int:
        prints: list[PublicTrade] = []
        world.listen(lambda changes: prints.extend(one for one in changes if isinstance(one, PublicTrade)))
        await after(60)
        count = sum(one.symbol == BTC for one in prints)
        assert {one.side for one in prints} == {Side.BUY, Side.SELL}
        touch = world.exchange.book(BTC).touch()
        bid = order(world, Side.BUY, 10, touch.bid_ticks, effect=Effect.POST_ONLY)
        offer = order(world, Side.SELL, 10, touch.ask_ticks, effect=Effect.POST_ONLY)
        await after(120)
        assert PerpStatus.FILLED in {now(world, bid).status, now(world, offer).status}
        assert all(trade.is_maker for trade in world.exchange.trades(number_of(world)))
        return count

    # Two draws in ten ticks a second: 120 in a minute, within four standard deviations.
    assert 80 < watched(story, trades_per_s=2.0) < 160
    assert watched(story, trades_per_s=5.0) > 220


def test_mark_and_index_follow_the_reference() -> None:
    """The index is it; the mark is the middle of three prices near it; mark candles are built of marks."""

    async def story(world: World) -> None:
        for _ in range(50):
            await after(1)
            reference = world.references()[BTC]
            assert world.exchange.index_ticks(BTC) == round(reference * 10)
            assert abs(world.exchange.mark_ticks(BTC) / 10 / reference - 1) < 0.002
        bar = world.forming_bar(BTC, 60, is_mark=True)
        assert bar.low_ticks <= world.exchange.mark_ticks(BTC) <= bar.high_ticks

    watched(story)


def test_a_jump_of_the_price_moves_quotes_at_once_and_stays() -> None:
    """By a fraction of all symbols, or to a price of one."""

    async def story(world: World) -> None:
        before = world.references()
        world.move(None, -0.05)
        for symbol, price in before.items():
            assert world.references()[symbol] == pytest.approx(price * 0.95)
            touch = world.exchange.book(symbol).touch()
            tick = float(world.exchange.listing(symbol).instrument.tick)
            assert touch.bid_ticks * tick < price * 0.95 < touch.ask_ticks * tick
        world.move_to(ETH, 5_000.0)
        await after(5)
        assert world.references()[ETH] == pytest.approx(5_000, rel=0.02)
        assert world.references()[BTC] == pytest.approx(before[BTC] * 0.95, rel=0.02)

    watched(story)


def test_a_frozen_reference_stands_still_and_goes_on_where_it_stood() -> None:
    """The index does not move while trades go on."""

    async def story(world: World) -> None:
        await after(1)
        world.is_frozen = True
        await after(1)
        stood = world.references()
        prints: list[Any] = []
        world.listen(prints.extend)
        await after(10)
        assert world.references() == stood
        assert prints
        world.is_frozen = False
        await after(0.2)
        assert world.references() != stood
        assert world.references()[BTC] == pytest.approx(stood[BTC], rel=0.002)

    watched(story)


@pytest.mark.requirement("B44")
def test_a_position_that_cannot_be_held_is_liquidated() -> None:
    """A jump below maintenance: the venue closes it, and what is missing is the insurance's."""

    async def story(world: World) -> None:
        account = number_of(world)
        world.exchange.set_leverage(account, BTC, 100)
        order(world, Side.BUY, 10_000)
        assert world.exchange.positions(account)
        world.move(BTC, -0.2)
        await after(1)
        assert world.exchange.positions(account) == []
        assert world.exchange.closed_positions(account)[-1].liquidated_lots > 0
        assert world.exchange.account(account).wallet_units < 10_000 * USDT

    watched(story)


def test_funding_is_settled_on_its_grid_and_longs_pay_a_positive_rate() -> None:
    """Each interval once, by the mark; what is passed over is not made up for."""

    async def story(world: World) -> None:
        account = number_of(world)
        order(world, Side.BUY, 1_000)
        first_ns = world.funding(BTC).next_ns
        assert first_ns % (20 * NS_PER_S) == 0
        assert 0 < first_ns - START_NS <= 20 * NS_PER_S
        await after(20.5)
        settled = list(world.fundings(BTC))
        assert [one.rate_ppb for one in settled] == [200_000]
        paid = world.exchange.ledger(account).funding
        value = 1_000 * settled[0].mark_ticks * 1_000
        assert paid == pytest.approx(-value * 200_000 / 10**9, abs=1)
        assert (world.funding(BTC).settled_ns, world.funding(BTC).next_ns) == (first_ns, first_ns + 20 * NS_PER_S)
        world.may_settle_funding = lambda symbol: symbol != BTC
        await after(20)
        assert world.exchange.ledger(account).funding == paid
        assert world.funding(BTC).next_ns == first_ns + 40 * NS_PER_S
        world.may_settle_funding = lambda _: True
        await after(20)
        assert (len(world.fundings(BTC)), len(world.fundings(ETH))) == (2, 3)

    watched(story, funding_interval_s=20, funding_rate_ppb=200_000)


def test_the_venue_can_hit_cancel_and_thin() -> None:
    """What the faults are made of: a resting order filled by others, ended by the venue, a book with too little."""

    async def story(world: World) -> None:
        changes: list[Any] = []
        world.listen(changes.extend)
        far = world.exchange.mark_ticks(BTC) * 98 // 100
        resting = order(world, Side.BUY, 40, far)
        world.hit(resting.account, resting)
        assert now(world, resting).status is PerpStatus.FILLED
        await after(1)
        ended = order(world, Side.BUY, 10, world.exchange.index_ticks(BTC) * 97 // 100)
        world.cancel_by_venue(ended.account, ended.order_id)
        assert now(world, ended).status is PerpStatus.SYSTEM_CANCELED
        world.thin(BTC, int(Side.SELL), 15)
        sold = now(world, order(world, Side.SELL, 40, reduce_only=True))
        assert (sold.status, sold.filled_lots) == (PerpStatus.PART_FILLED_CANCELED, 15)
        await after(1)
        assert sum(level.size_lots for level in world.exchange.depth(BTC, 20).bids) > 1_000
        kinds = [type(change) for change in changes if getattr(getattr(change, "order", None), "order_id", 0)]
        assert OrderChanged in kinds
        assert any(isinstance(change, PositionChanged) for change in changes)

    watched(story)


@pytest.mark.requirement("B44")
def test_there_is_a_past_without_holes_that_meets_the_present() -> None:
    """Minutes before the start, longer and shorter candles of the same prices, and the first live one goes on."""

    async def story(world: World) -> None:
        minutes = world.bars(BTC, "1m", limit=500, end_ns=START_NS)
        assert [bar.start_ns for bar in minutes] == [START_NS - number * 60 * NS_PER_S for number in range(300, 0, -1)]
        assert all(bar.low_ticks <= min(bar.open_ticks, bar.close_ticks) for bar in minutes)
        assert all(bar.high_ticks >= max(bar.open_ticks, bar.close_ticks) for bar in minutes)
        assert all(a.close_ticks == b.open_ticks for a, b in itertools.pairwise(minutes))
        assert min(bar.size_lots for bar in minutes) > 0
        for name, length_s in SHORT_INTERVALS_S.items():
            short = world.bars(BTC, name, limit=200, end_ns=START_NS)
            assert [bar.start_ns for bar in short] == [
                START_NS - number * length_s * NS_PER_S for number in range(200, 0, -1)
            ]
            assert short[-1].close_ticks == minutes[-1].close_ticks
        await after(70)
        live = world.bars(BTC, "1m", limit=3, end_ns=world.now_ns())
        assert [bar.start_ns - START_NS for bar in live] == [-60 * NS_PER_S, 0, 60 * NS_PER_S]
        assert live[1].open_ticks == pytest.approx(minutes[-1].close_ticks, rel=0.003)
        seconds = world.bars(BTC, "1s", limit=60, end_ns=START_NS + 60 * NS_PER_S)
        assert sum(bar.size_lots for bar in seconds) == live[1].size_lots
        assert sum(bar.quote_units for bar in seconds) == live[1].quote_units
        assert max(bar.high_ticks for bar in seconds if bar.trades) == live[1].high_ticks
        with pytest.raises(KeyError):
            world.bars(BTC, "1s", limit=1, end_ns=START_NS, by=TriggerBy.MARK_PRICE)

    watched(story, history_minutes=300)


def test_time_can_run_faster_and_never_runs_back() -> None:
    """A factor changes the pace from now on, and the market goes with it."""

    async def story(world: World) -> None:
        await after(10)
        assert world.now_ns() - START_NS == 10 * NS_PER_S
        world.clock.set_factor(30.0)
        changes: list[Any] = []
        world.listen(changes.extend)
        before = world.now_ns()
        await after(10)
        assert world.now_ns() - before == pytest.approx(300 * NS_PER_S, rel=1e-6)
        assert max(change.ts_ns for change in changes) > before + 290 * NS_PER_S
        world.clock.set_factor(0.001)
        last = world.now_ns()
        for _ in range(20):
            await after(0.1)
            assert world.now_ns() >= last
            last = world.now_ns()
        world.clock.set_factor(1.0)
        # Who sleeps by the slow pace looks again soon.
        changes.clear()
        await after(2)
        assert changes

    watched(story)


def test_a_speed_of_the_settings_is_the_pace_from_the_start() -> None:
    """An hour of the venue in a minute."""

    async def story(world: World) -> int:
        await after(6)
        return world.now_ns() - START_NS

    assert watched(story, speed=60.0) == pytest.approx(360 * NS_PER_S, rel=1e-6)


def test_candles_that_were_recorded_give_past_and_price(recorded_data: Path) -> None:
    """The first minutes are the past, as they were; then the price goes through each candle's four prices."""
    files = [
        str(recorded_data / "candles" / "binance_perp_BTCUSDT_1m_20250525_20250624.feather"),
        str(recorded_data / "funding" / "binance_perp_BTCUSDT_8h_20230101_20251206.feather"),
    ]

    async def story(world: World) -> None:
        past = world.bars(BTC, "1m", limit=10, end_ns=START_NS)
        assert len(past) == 10
        assert 500_000 < past[0].open_ticks < 1_500_000
        reached = past[-1].close_ticks / 10
        assert world.references()[BTC] == pytest.approx(reached, rel=0.001)
        await after(65)
        assert world.references()[BTC] != reached
        assert world.references()[BTC] == pytest.approx(reached, rel=0.01)
        # Nobody recorded the other symbol: it walks.
        assert world.references()[ETH] == pytest.approx(3_000, rel=0.05)

    watched(story, data=tuple(files), history_minutes=10)


@pytest.mark.parametrize("loops", [True, False])
def test_ticks_that_were_recorded_come_as_they_came(recorded_data: Path, loops: bool) -> None:
    """Six minutes of trades and quotes; at their end anew at the price that was reached, or no further."""
    path = recorded_data / "ticks" / "binance_usdm_btcusdt_20240808_2354.wsfeed.gz"

    async def story(world: World) -> list[float]:
        assert world.references()[BTC] == pytest.approx(61_700, rel=0.005)
        assert world.bars(BTC, "1m", limit=9, end_ns=START_NS)[-1].close_ticks == pytest.approx(617_000, rel=0.005)
        world.clock.set_factor(50.0)
        await after(8)
        seen = []
        for _ in range(5):
            await after(0.1)
            seen.append(world.references()[BTC])
        return seen

    seen = watched(story, data=(str(path),), symbols=(BTC,), loops_data=loops)
    assert (len(set(seen)) > 1) == loops
    assert seen[-1] == pytest.approx(61_650, rel=0.02)


@pytest.mark.parametrize("settings", [{"symbols": ("NOPEUSDT",)}, {"data": ("no_such_file.csv",)}])
def test_what_cannot_be_listed_is_refused_by_name(settings: dict[str, Any]) -> None:
    """An unknown symbol, a file that is not there."""

    async def story() -> None:
        World(BitunixTestnetSettings(**settings), VirtualClock())

    with pytest.raises(UsageFault, match=r"NOPEUSDT|no_such_file"):
        run_virtual(story(), seed=1, start_ns=START_NS)


def test_a_venue_that_was_held_up_goes_on_from_the_present() -> None:
    """An hour in which nothing ran is not played in full, and nothing is stamped in it."""

    async def story(world: World) -> None:
        changes: list[Any] = []
        world.listen(changes.extend)
        world.clock._start_ns += 3_600 * NS_PER_S  # as on a machine that slept
        await after(1)
        assert all(change.ts_ns >= START_NS + 3_600 * NS_PER_S for change in changes)
        assert len(world.bars(BTC, "1m", limit=200, end_ns=world.now_ns())) == 66

    watched(story)


def test_nothing_is_told_when_nothing_happened() -> None:
    """Listeners are called with changes only."""

    async def story(world: World) -> list[int]:
        sizes: list[int] = []
        world.listen(lambda changes: sizes.append(len(changes)))
        world.publish()
        await after(3)
        return sizes

    assert min(watched(story)) > 0
