"""Faults of the loopback Bitunix's sockets: each shows as promised, is counted when it does, and ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import pytest

from agora.domain.numbers import NS_PER_MS
from agora.domain.orders import Side
from agora.testnet.bitunix_connection import WAITING_BYTES_MAX, WEIGHT_MAX
from agora.testnet.faults import FAULTS_BY_KIND, Fault
from tests.testnet.bitunix_bench import BTC, ETH, Bench, in_virtual_time
from tests.testnet.bitunix_ears import Ear, counts, ear, no_more, plan, private_ear

Story = Callable[[Bench], Coroutine[Any, Any, None]]


async def refuse(it: Bench) -> None:
    """A new connection is not accepted; one that is open stays, and so does the other kind."""
    async with ear(it) as there:
        plan(it, "refuse", target="market")
        with pytest.raises(aiohttp.ClientError):
            async with ear(it):
                pass
        async with ear(it, "private") as other:
            await other.until(lambda heard: heard.said("connect"))
        await there.say("ping", ping=1)
        await there.until(lambda heard: heard.said("ping"))
    assert counts(it)["refuse"] in (1, 2), "the library tries a kept connection once more"


async def ended(it: Bench, fault: str, *, target: str) -> tuple[Ear, Ear]:
    """What becomes of a market and a user socket when a fault comes."""
    async with ear(it) as market, private_ear(it) as user:
        await market.subscribe((BTC, "depth_book5"))
        await it.rest(1)
        plan(it, fault, target=target)
        await it.rest(0.3)
        assert counts(it) == {fault: 1}
        await it.rest(1)
        assert counts(it) == {fault: 1}, "once is once"
        return market, user


async def ws_reset(it: Bench) -> None:
    """The user's socket is cut without a word; the market's lives. Who comes back is served."""
    market, user = await ended(it, "ws_reset", target="user")
    assert user.ended_s is not None
    assert not user.has_said_goodbye
    assert market.ended_s is None
    async with private_ear(it) as again:
        await it.rest(1)
        assert again.ended_s is None


async def ws_close(it: Bench) -> None:
    """Ended with a close frame."""
    market, user = await ended(it, "ws_close", target="market")
    assert market.has_said_goodbye
    assert user.ended_s is None


async def drop_connections(it: Bench) -> None:
    """Everybody is cut off."""
    for each in await ended(it, "drop_connections", target="*"):
        assert each.ended_s is not None
        assert not each.has_said_goodbye


async def ws_mute(it: Bench) -> None:
    """Nothing comes, not even an answer to a ping, on a connection that is up; then it goes on."""
    async with ear(it) as market:
        await market.subscribe((BTC, "depth_book5"))
        await it.rest(1)
        plan(it, "ws_mute", target="market", for_s=20)
        await it.rest(0.01)
        before = len(market.frames)
        await market.say("ping", ping=1)
        await it.rest(19.5)
        assert (len(market.frames), market.ended_s) == (before, None)
        await it.rest(2)
        assert market.times("depth_book5")[-1] > 22
    assert counts(it)["ws_mute"] > 50


async def slow(it: Bench) -> None:
    """Frames come two seconds late, and in order."""
    async with ear(it) as market:
        plan(it, "slow", target="market", delay_s=2)
        opened_ms = it.clock.now_ns() // NS_PER_MS
        await market.subscribe((BTC, "price"))
        await it.rest(6)
        late = [at_s - (frame["ts"] - opened_ms) / 1_000 for at_s, frame in market.frames if "ts" in frame]
        assert late
        assert min(late) == pytest.approx(2, abs=0.02)
        assert max(late) == pytest.approx(2, abs=0.02)
    assert counts(it)["slow"] == 12


async def sliced(it: Bench) -> None:
    """Frames come in pieces and are whole in the end, short, long and huge ones."""
    async with ear(it) as market, private_ear(it) as user:
        plan(it, "sliced")
        plan(it, "huge", target="prices", size_bytes=100_000)
        await market.subscribe((BTC, "depth_book1"), (BTC, "depth_book15"), (BTC, "price"))
        await it.place(Side.BUY, "0.01")
        await it.rest(5)
        assert {type(text) for _, text in (*market.texts, *user.texts)} == {str}
        sizes = sorted({len(text) // 1_000 for _, text in market.texts})
        assert (sizes[0], sizes[-1]) == (0, 100)
        assert len(market.frames) == len(market.texts) == 1 + 2 * 16 + 10
        assert user.of("order")
    assert counts(it)["sliced"] > 40


async def drop_pong(it: Bench) -> None:
    """A ping is not answered; the socket stays open."""
    async with ear(it) as market:
        plan(it, "drop_pong", target="market")
        for _ in range(4):
            await market.say("ping", ping=1)
            await it.rest(20)
        assert (market.said("ping"), market.ended_s) == ([], None)
        assert no_more(it) == {"drop_pong": 4}
        await market.say("ping", ping=1)
        await it.rest(0.1)
        assert market.said("ping")


CONNECTIONS: dict[Fault, Story] = {
    Fault.REFUSE: refuse,
    Fault.WS_RESET: ws_reset,
    Fault.WS_CLOSE: ws_close,
    Fault.WS_MUTE: ws_mute,
    Fault.SLOW: slow,
    Fault.SLICED: sliced,
    Fault.DROP_PONG: drop_pong,
    Fault.DROP_CONNECTIONS: drop_connections,
}


@pytest.mark.parametrize("fault", CONNECTIONS)
def test_a_fault_of_connections_shows_and_is_counted(fault: Fault) -> None:
    """Refused, cut, closed, mute, slow, in pieces, without an answer to a ping."""
    in_virtual_time(CONNECTIONS[fault])


# Messages.


def readable(text: str | bytes) -> Any:
    """A frame, or None for what is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def is_crossed(text: str | bytes) -> bool:
    """Whether a window's bid is above its ask."""
    data = json.loads(text)["data"]
    return float(data["b"][0][0]) > float(data["a"][0][0])


# What each does to a depth or price frame that was heard while it lasted, and to an account's push.
SPOILS: dict[Fault, Callable[[str | bytes], bool]] = {
    Fault.MALFORMED: lambda text: readable(text) is None,
    Fault.NOT_A_NUMBER: lambda text: '"NaN"' in str(text),
    Fault.HUGE: lambda text: len(text) > 400_000 and "ch" in readable(text),
    Fault.DEEP: lambda text: str(text).count("[") >= 5_000,
    Fault.BINARY: lambda text: isinstance(text, bytes) and readable(text) is None,
    Fault.CROSSED_BOOK: is_crossed,
}
OPTIONS: dict[Fault, dict[str, Any]] = {Fault.HUGE: {"size_bytes": 400_000}}


@pytest.mark.parametrize("fault", SPOILS)
def test_a_spoiled_market_frame_is_what_its_name_says(fault: Fault) -> None:
    """Every frame while it lasts, none afterwards; what it tells is no news to the ledger."""

    async def story(it: Bench) -> None:
        async with ear(it) as market:
            await market.subscribe((BTC, "depth_book5"), (ETH, "depth_book5"))
            await it.rest(1)
            plan(it, fault, target="market", for_s=5, **OPTIONS.get(fault, {}))
            newest_ns, before = it.venue.sockets.newest_datum_ns(), len(market.texts)
            await it.rest(4.9)
            spoiled = [text for _, text in market.texts[before:]]
            assert len(spoiled) == counts(it)[fault] == 32
            assert all(SPOILS[fault](text) for text in spoiled)
            assert it.venue.sockets.newest_datum_ns() == newest_ns
            await it.rest(1.1)
            sound = [text for _, text in market.texts[before + counts(it)[fault] :]]
            assert len(sound) >= 4
            assert not any(SPOILS[fault](text) for text in sound)
            assert market.ended_s is None

    in_virtual_time(story)


USERS_TOO = [fault for fault in SPOILS if fault is not Fault.CROSSED_BOOK]


@pytest.mark.parametrize("fault", USERS_TOO)
def test_an_accounts_pushes_are_spoiled_likewise(fault: Fault) -> None:
    """With the target `user`, and the market is not meant."""

    async def story(it: Bench) -> None:
        async with private_ear(it) as user, ear(it) as market:
            await market.subscribe((BTC, "price"))
            plan(it, fault, target="user", **OPTIONS.get(fault, {}))
            await it.place(Side.BUY, "0.01")
            await it.rest(1)
            spoiled = [text for _, text in user.texts[2:]]
            assert len(spoiled) == counts(it)[fault] >= 3
            assert all(SPOILS[fault](text) for text in spoiled)
            assert market.of("price")
            assert not any(SPOILS[fault](text) for _, text in market.texts)

    in_virtual_time(story)


async def wrong_price(it: Bench) -> None:
    """Ten times the price, in every place where there is one; the private stream has none to spoil."""
    async with ear(it) as market, private_ear(it) as user:
        channels = ("price", "depth_book1", "tickers", "market_kline_1min")
        await market.subscribe(*((BTC, channel) for channel in channels))
        plan(it, "wrong_price")
        await it.place(Side.BUY, "0.01")
        await it.rest(2)
        depth = market.of("depth_book1")[-1]["data"]
        prices = [
            market.of("price")[-1]["data"]["mp"],
            depth["b"][0][0],
            depth["a"][0][0],
            market.of("tickers")[-1]["data"][0]["la"],
            market.of("market_kline_1min")[-1]["data"]["c"],
        ]
        assert all(400_000 < float(price) < 800_000 for price in prices), prices
        assert 40_000 < float(user.of("order")[-1]["data"]["averagePrice"]) < 80_000


async def duplicate(it: Bench) -> None:
    """Each frame twice, a push too."""
    async with ear(it) as market, private_ear(it) as user:
        plan(it, "duplicate")
        await market.subscribe((BTC, "depth_book5"))
        await it.place(Side.BUY, "0.01")
        await it.rest(3)
        for heard, skipped in ((market, 1), (user, 2)):
            texts = [text for _, text in heard.texts[skipped:]]
            assert texts
            assert texts[::2] == texts[1::2]


async def out_of_order(it: Bench) -> None:
    """A frame after the one that followed it; a last one comes within a second."""
    async with ear(it) as market, private_ear(it) as user:
        plan(it, "out_of_order")
        await market.subscribe((BTC, "depth_book5"))
        await it.place(Side.BUY, "0.01", it.far(Side.BUY))
        await it.rest(0.5)
        assert user.of("order") == []
        await it.rest(2.5)
        stamps = [frame["ts"] for frame in market.of("depth_book5")]
        assert len(stamps) == 8
        assert all(late < early for early, late in zip(stamps[::2], stamps[1::2], strict=True))
        assert len(user.of("order")) == 1
        await market.subscribe((BTC, "depth_book5"), op="unsubscribe")


async def shifted(it: Bench, fault: str, by_ms: int) -> None:
    """The stamps of frames are off."""
    async with ear(it) as market, private_ear(it) as user:
        plan(it, fault)
        await market.subscribe((BTC, "depth_book5"))
        await it.place(Side.BUY, "0.01")
        await it.rest(1)
        now_ms = it.clock.now_ns() // NS_PER_MS
        for frame in (*market.of("depth_book5"), *user.of("order")):
            assert now_ms + by_ms - 1_100 < frame["ts"] <= now_ms + by_ms


async def stale(it: Bench) -> None:
    """A minute behind."""
    await shifted(it, "stale", -60_000)


async def future(it: Bench) -> None:
    """An hour ahead."""
    await shifted(it, "future", 3_600_000)


async def gap(it: Bench) -> None:
    """Half of the frames are missing, and the connection is well."""
    async with ear(it) as market, private_ear(it) as user:
        await market.subscribe((BTC, "depth_book5"))
        await it.rest(1)
        plan(it, "gap", p=0.5, seed=3)
        await it.rest(31)
        missing = 103 - len(market.of("depth_book5"))
        assert missing == counts(it)["gap"]
        assert 30 < missing < 70
        await market.say("ping", ping=1)
        no_more(it)
        plan(it, "gap", target="user")
        await it.place(Side.BUY, "0.01")
        await it.rest(1)
        assert market.said("ping")
        assert len(user.frames) == 2


async def frozen_reference(it: Bench) -> None:
    """Index and mark stand still while frames go on."""
    async with ear(it) as market:
        await market.subscribe((BTC, "price"))
        await it.rest(1)
        plan(it, "frozen_reference", for_s=20)
        await it.rest(1)
        before = len(market.of("price"))
        await it.rest(18)
        assert len({frame["data"]["ip"] for frame in market.of("price")[before:]}) == 1
        assert counts(it) == {"frozen_reference": 1}
        await it.rest(20)
        assert len({frame["data"]["ip"] for frame in market.of("price")[before:]}) > 5


MESSAGES: dict[Fault, Story] = {
    Fault.WRONG_PRICE: wrong_price,
    Fault.DUPLICATE: duplicate,
    Fault.OUT_OF_ORDER: out_of_order,
    Fault.STALE: stale,
    Fault.FUTURE: future,
    Fault.GAP: gap,
    Fault.FROZEN_REFERENCE: frozen_reference,
}


@pytest.mark.parametrize("fault", MESSAGES)
def test_a_fault_of_messages_shows_and_is_counted(fault: Fault) -> None:
    """Wrong, twice, in the wrong order, old, from the future, missing, of a market that stands still."""

    async def story(it: Bench) -> None:
        await MESSAGES[fault](it)
        assert counts(it)[fault] > 0

    in_virtual_time(story)


def test_a_target_of_prices_means_mark_and_index_only() -> None:
    """Depth of the same socket goes on unharmed."""

    async def story(it: Bench) -> None:
        async with ear(it) as market:
            plan(it, "malformed", target="prices")
            await market.subscribe((BTC, "depth_book5"), (BTC, "price"))
            await it.rest(3)
            assert (market.of("price"), counts(it)["malformed"]) == ([], 6)
            assert len(market.of("depth_book5")) == 9

    in_virtual_time(story)


def test_a_fault_that_meets_nothing_does_not_count() -> None:
    """Nobody listens, nothing is a book, nothing fills: planned, active, and not fired."""

    async def story(it: Bench) -> None:
        async with ear(it) as market, private_ear(it) as user:
            for fault in ("crossed_book", "lost_fills", "late_fills", "duplicate_fills", "reordered_fills"):
                plan(it, fault, at_s=1)
            for fault in ("wrong_price", "crossed_book", "drop_pong", "heartbeat_refused", "refuse"):
                plan(it, fault, target="user", at_s=1)
            await market.subscribe((BTC, "price"), (BTC, "trade"))
            await it.rest(1.1)
            await it.place(Side.BUY, "0.01", it.far(Side.BUY))
            await it.rest(5)
            assert len(user.of("order")) == 1
            assert all(row["active"] and not row["fired"] for row in it.venue.plan.report())
            no_more(it)
            plan(it, "lost_fills")
            await it.place(Side.BUY, "0.01", it.far(Side.BUY))
            await it.rest(1)
            assert len(user.of("order")) == 2
            assert counts(it) == {"lost_fills": 0}

    in_virtual_time(story)


def test_chance_is_the_seeds_and_the_same_again() -> None:
    """Which frames are missing depends on the entry's seed and nothing else."""

    def heard(seed: int) -> list[float]:
        async def story(it: Bench) -> list[float]:
            async with ear(it) as market:
                plan(it, "gap", p=0.4, seed=seed)
                await market.subscribe((BTC, "depth_book1"))
                await it.rest(20)
                return [round(at_s, 2) for at_s in market.times("depth_book1")]

        return in_virtual_time(story)

    assert heard(1) == heard(1)
    assert heard(1) != heard(2)


def test_a_huge_frame_reaches_a_client_that_reads() -> None:
    """Two of them at once, each larger than all that may wait; one counts for an eighth of that."""

    async def story(it: Bench) -> None:
        async with ear(it) as market:
            plan(it, "huge", size_bytes=2 * WAITING_BYTES_MAX, for_s=1)
            await market.subscribe((BTC, "depth_book5"), (ETH, "depth_book5"))
            await it.rest(3)
            assert sum(len(text) > 2 * WAITING_BYTES_MAX for _, text in market.texts) == counts(it)["huge"] == 6
            assert market.ended_s is None

    assert WEIGHT_MAX * 8 == WAITING_BYTES_MAX
    in_virtual_time(story)


def test_all_faults_of_connections_and_messages_are_covered_here() -> None:
    """None is left out."""
    assert set(CONNECTIONS) == set(FAULTS_BY_KIND["connections"])
    assert {*SPOILS, *MESSAGES} == set(FAULTS_BY_KIND["messages"])
