"""Faults of orders and fills at the loopback Bitunix, and of the venue itself: each shows, is counted, and ends."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from agora.domain.numbers import NS_PER_MS, NS_PER_S
from agora.domain.orders import Side
from agora.exchange.perp_records import TradingMode
from agora.testnet.bitunix_faults import BITUNIX_FAULTS
from agora.testnet.faults import FAULTS_BY_KIND, Fault
from tests.testnet.bitunix_bench import BTC, COIN, Bench, in_virtual_time
from tests.testnet.bitunix_ears import (
    CANCEL,
    Ear,
    accepted,
    counts,
    ear,
    login,
    market,
    no_more,
    placed,
    plan,
    private_ear,
    resting,
    status,
)  # fmt: skip

Story = Callable[[Bench], Coroutine[Any, Any, None]]


async def filled(it: Bench, fault: str, *, waits_s: float = 1, **entry: Any) -> Ear:
    """What an account hears while two orders of it fill and one rests."""
    async with private_ear(it) as user:
        plan(it, fault, **entry)
        await placed(it, resting(it, "rest"))
        await placed(it, market("in"))
        await it.rest(waits_s)
        assert await status(it, "in") == "FILLED"
        return user


def told(user: Ear) -> list[tuple[str, str]]:
    """The pushes about orders and positions, in short, in the order in which they were heard."""
    frames = [frame for _, frame in user.frames if frame.get("ch") in ("order", "position")]
    return [(frame["data"].get("clientId", ""), frame["data"]["event"]) for frame in frames]


REST, MADE, FILLED, POSITION = ("rest", "CREATE"), ("in", "CREATE"), ("in", "CLOSE"), ("", "OPEN")


async def lost_fills(it: Bench) -> None:
    """Neither the fill nor the position is told; that orders rest is."""
    user = await filled(it, "lost_fills")
    assert told(user) == [REST, MADE]
    assert user.of("balance")


async def duplicate_fills(it: Bench) -> None:
    """Both are told twice."""
    assert told(await filled(it, "duplicate_fills")) == [REST, MADE, FILLED, FILLED, POSITION, POSITION]


async def late_fills(it: Bench) -> None:
    """Both are told two seconds late."""
    user = await filled(it, "late_fills", delay_s=2, waits_s=2.2)
    assert told(user) == [REST, MADE, FILLED, POSITION]
    at_s = {frame["data"]["event"]: at_s for at_s, frame in user.frames if frame.get("ch") in ("order", "position")}
    assert at_s["CLOSE"] - at_s["CREATE"] == pytest.approx(2, abs=0.05)


async def reordered_fills(it: Bench) -> None:
    """The position before the fill that made it."""
    assert told(await filled(it, "reordered_fills")) == [REST, MADE, POSITION, FILLED]


async def unknown_order_updates(it: Bench) -> None:
    """Beside each push one about an order that nobody has placed."""
    user = await filled(it, "unknown_order_updates")
    ids = [frame["data"]["orderId"] for frame in user.of("order")]
    assert len(ids) == 6
    known = {str(order.order_id) for order in it.venue.world.exchange.orders(it.number)}
    assert len([order_id for order_id in ids if order_id in known]) == 3
    assert len([order_id for order_id in ids if order_id[:1] == "9" and order_id[1:] in known]) == 3


async def cancel_fill_race(it: Bench) -> None:
    """What is to be cancelled has traded; what is not named goes on resting."""
    for name, share in (("a", 0.0004), ("b", 0.0005), ("c", 0.0006)):
        await placed(it, resting(it, name, price=it.far(Side.BUY, share)))
    plan(it, "cancel_fill_race", for_s=1)
    answer = await it.signed(CANCEL, {"symbol": BTC, "orderList": [{"clientId": "b"}]})
    assert (answer.data["successList"], answer.data["failureList"][0]["errorCode"]) == ([], 30011)
    assert counts(it) == {"cancel_fill_race": 1}
    # What stands before it in the book has traded with it.
    assert [await status(it, name) for name in "abc"] == ["FILLED", "FILLED", "NEW"]
    answer = await it.signed("/trade/cancel_all_orders", {})
    assert answer.data["successList"] == []
    assert await status(it, "c") == "FILLED"


async def partial_flatten(it: Bench) -> None:
    """Half of a reducing market order fills, the rest is gone; one that opens fills whole."""
    plan(it, "partial_flatten")
    await placed(it, market("in", "0.02"))
    assert counts(it) == {"partial_flatten": 0}
    assert (await placed(it, market("out", "0.02", "SELL", reduceOnly=True))).code == 0
    detail = (await it.signed("/trade/get_order_detail", clientId="out")).data
    assert detail["tradeQty"] == "0.0100"
    assert [str(row.qty) for row in await it.client.positions()] == ["0.0100"]
    assert no_more(it) == {"partial_flatten": 1}
    await it.rest(1)
    await placed(it, market("rest", "0.01", "SELL", reduceOnly=True))
    assert await it.client.positions() == []


async def trade_failed(it: Bench) -> None:
    """The newest trade is undone, with its position and its fee, and pushed."""
    await placed(it, market("in", "0.02"))
    async with private_ear(it) as user:
        plan(it, "trade_failed")
        await it.rest(0.3)
        assert [frame["data"]["event"] for frame in user.of("position")][-1:] != ["OPEN"]
        assert user.of("balance")
    fills = it.venue.ledger()["accounts"][0]["fills"]
    assert [fill["is_busted"] for fill in fills][-1:] == [True]
    assert it.venue.ledger()["accounts"][0]["net_lots"][BTC] == 200 - fills[-1]["size_lots"]


async def trade_retrying(it: Bench) -> None:
    """Listed three seconds late, while the position is there."""
    plan(it, "trade_retrying")
    await placed(it, market("in"))
    assert await it.client.trades(BTC) == []
    assert [str(row.qty) for row in await it.client.positions()] == ["0.0100"]
    await it.rest(2.8)
    assert await it.client.trades(BTC) == []
    await it.rest(0.3)
    assert [row.client_id for row in await it.client.trades(BTC)] == [""]


FILLS: dict[Fault, Story] = {
    Fault.LOST_FILLS: lost_fills,
    Fault.DUPLICATE_FILLS: duplicate_fills,
    Fault.LATE_FILLS: late_fills,
    Fault.REORDERED_FILLS: reordered_fills,
    Fault.CANCEL_FILL_RACE: cancel_fill_race,
    Fault.UNKNOWN_ORDER_UPDATES: unknown_order_updates,
    Fault.PARTIAL_FLATTEN: partial_flatten,
    Fault.TRADE_FAILED: trade_failed,
    Fault.TRADE_RETRYING: trade_retrying,
}


# The venue.


async def foreign_position_change(it: Bench) -> None:
    """A position that no order of ours has made, pushed and listed."""
    async with private_ear(it) as user:
        plan(it, "foreign_position_change")
        await it.rest(0.3)
        assert [frame["data"]["event"] for frame in user.of("position")] == ["OPEN"]
        assert user.of("order")[-1]["data"]["clientId"] == ""
    assert [str(row.qty) for row in await it.client.positions()] == ["0.0010"]
    assert accepted(it) == {}


async def price_move(it: Bench) -> None:
    """The reference jumps, once, and the book with it."""
    before = it.venue.world.references()[BTC]
    plan(it, "price_move", fraction=-0.1)
    await it.rest(2)
    assert it.venue.world.references()[BTC] == pytest.approx(before * 0.9, rel=0.02)
    touch = it.venue.world.exchange.depth(BTC, 1)
    assert touch.asks[0].price_ticks / 10 == pytest.approx(before * 0.9, rel=0.02)


async def funding_missing(it: Bench) -> None:
    """One funding of ten seconds is passed over, the next one is not."""
    await placed(it, market("in"))
    plan(it, "funding_missing", for_s=12)
    await it.rest(12)
    assert it.venue.ledger()["accounts"][0]["funding_units"] == 0
    await it.rest(10)
    assert it.venue.ledger()["accounts"][0]["funding_units"] < 0
    assert len(it.venue.world.fundings(BTC)) == 1


async def tick_size_change(it: Bench) -> None:
    """Steps are ten times as large: the contract says so, and prices between them are refused, in batches too."""
    before = {row.symbol: row.quote_precision for row in await it.client.trading_pairs()}
    plan(it, "tick_size_change", for_s=5)
    await it.rest(0.2)
    during = {row.symbol: row.quote_precision for row in await it.client.trading_pairs()}
    assert during == {symbol: places - 1 for symbol, places in before.items()}
    whole = f"{float(it.far(Side.BUY)):.0f}"
    assert (await placed(it, resting(it, "a", price=f"{whole}.1"))).code == 10002
    rows = [resting(it, "b", price=f"{whole}.1")]
    assert (await it.signed("/trade/batch_order", {"symbol": BTC, "orderList": rows})).code == 10002
    assert (await placed(it, resting(it, "c", price=whole))).code == 0
    assert (await it.signed("/trade/modify_order", {"clientId": "c", "qty": "0.01", "price": f"{whole}.2"})).code
    await it.rest(5)
    assert (await placed(it, resting(it, "d", price=f"{whole}.1"))).code == 0


async def auth_revoked(it: Bench) -> None:
    """Signed calls and logins are refused, private sockets cut; public ones are served. Then all is well."""
    async with private_ear(it) as user, ear(it) as public:
        plan(it, "auth_revoked", for_s=5)
        await it.rest(0.3)
        assert (await it.signed("/account", **COIN)).code == 10007
        assert (await it.get("/market/tickers")).code == 0
        assert user.ended_s is not None
        assert public.ended_s is None
        async with ear(it, "private") as again:
            await again.socket.send_str(login(it, it.account))
            await again.until(lambda heard: heard.said("login"))
            assert again.said("login")[0]["data"]["result"] is False
    await it.rest(5)
    assert (await it.signed("/account", **COIN)).code == 0
    async with private_ear(it) as user:
        assert user.said("login")[0]["data"]["result"] is True


async def clock_skew(it: Bench) -> None:
    """Every time that the venue shows is ahead: header, frames, rows."""
    plan(it, "clock_skew", seconds=90, for_s=5)
    async with ear(it) as public:
        await public.subscribe((BTC, "price"), (BTC, "trade"))
        await it.rest(0.7)
        await placed(it, market("in"))
        await public.until(lambda heard: heard.of("trade"))
        shown = datetime.fromtimestamp(it.clock.now_ns() // NS_PER_S + 90, tz=UTC)
        told_at = datetime.fromisoformat(public.of("trade")[-1]["data"][-1]["t"])
        assert abs((told_at - shown).total_seconds()) <= 1
        shown_ns = it.clock.now_ns() + 90 * NS_PER_S
        assert abs(public.of("price")[-1]["ts"] - shown_ns // NS_PER_MS) < 700
    answer = await placed(it, resting(it, "a"))
    shown_s = it.clock.now_ns() // NS_PER_S + 90
    assert abs(parsedate_to_datetime(answer.headers["Date"]).timestamp() - shown_s) <= 1
    detail = (await it.signed("/trade/get_order_detail", clientId="a")).data
    assert abs(int(detail["ctime"]) // 1_000 - shown_s) <= 1
    await it.rest(5)
    answer = await it.get("/market/tickers")
    assert abs(parsedate_to_datetime(answer.headers["Date"]).timestamp() - it.clock.now_ns() / NS_PER_S) <= 1


async def maintenance(it: Bench) -> None:
    """Every call is answered with 10001, and nobody trades; orders survive."""
    await placed(it, resting(it, "a"))
    plan(it, "maintenance", for_s=5)
    await it.rest(0.3)
    assert (await it.get("/market/tickers")).code == 10001
    assert (await placed(it, market("b"))).code == 10001
    assert it.venue.world.exchange.trading_mode(BTC) is TradingMode.STOP
    await it.rest(5)
    assert await status(it, "a") == "NEW"
    assert (await placed(it, market("c"))).code == 0


async def engine_restart(it: Bench) -> None:
    """Sockets are cut, changes answered with 10001, reads served; orders survive."""
    await placed(it, resting(it, "a"))
    async with private_ear(it) as user, ear(it) as public:
        plan(it, "engine_restart", for_s=5)
        await it.rest(0.3)
        assert user.ended_s is not None
        assert public.ended_s is not None
    assert (await placed(it, market("b"))).code == 10001
    assert (await it.signed(CANCEL, {"symbol": BTC, "orderList": [{"clientId": "a"}]})).code == 10001
    assert await status(it, "a") == "NEW"
    async with private_ear(it) as user:
        await it.rest(5)
        assert (await placed(it, market("c"))).code == 0
        await user.until(lambda heard: heard.of("order"))


async def cancel_only(it: Bench) -> None:
    """New orders are refused, cancels done."""
    await placed(it, resting(it, "a"))
    plan(it, "cancel_only", for_s=5)
    await it.rest(0.3)
    assert (await placed(it, market("b"))).code == 20012
    pairs = await it.client.trading_pairs((BTC,))
    assert pairs[0].status == "CANCEL_ONLY"
    answer = await it.signed(CANCEL, {"symbol": BTC, "orderList": [{"clientId": "a"}]})
    assert len(answer.data["successList"]) == 1
    await it.rest(5)
    assert (await placed(it, market("c"))).code == 0


async def post_only_mode(it: Bench) -> None:
    """Only orders that rest are taken."""
    plan(it, "post_only_mode", for_s=5)
    await it.rest(0.3)
    assert (await placed(it, market("a"))).code == 20012
    assert (await placed(it, resting(it, "b"))).code == 20012
    assert (await placed(it, resting(it, "c", effect="POST_ONLY"))).code == 0
    await it.rest(5)
    assert (await placed(it, market("d"))).code == 0


async def heartbeat_refused(it: Bench) -> None:
    """A ping is answered by the end of the connection."""
    async with ear(it) as public, ear(it, "private") as private:
        plan(it, "heartbeat_refused", target="market")
        await it.rest(5)
        for each in (public, private):
            await each.say("ping", ping=1)
        await it.rest(0.1)
        assert public.ended_s == pytest.approx(5, abs=0.05)
        assert not public.has_said_goodbye
        assert private.said("ping")


async def rate_limit_low(it: Bench) -> None:
    """One call a second; the second is refused, and the next second it goes again."""
    plan(it, "rate_limit_low", target="account")
    assert counts(it) == {"rate_limit_low": 0}
    codes = [(await it.signed("/account", **COIN)).code for _ in range(3)]
    assert codes == [0, 10006, 10006]
    assert [(await it.signed("/trade/get_pending_orders")).code for _ in range(3)] == [0, 0, 0]
    await it.rest(1)
    assert (await it.signed("/account", **COIN)).code == 0
    assert counts(it) == {"rate_limit_low": 2}


VENUE: dict[Fault, Story] = {
    Fault.FOREIGN_POSITION_CHANGE: foreign_position_change,
    Fault.PRICE_MOVE: price_move,
    Fault.FUNDING_MISSING: funding_missing,
    Fault.TICK_SIZE_CHANGE: tick_size_change,
    Fault.AUTH_REVOKED: auth_revoked,
    Fault.CLOCK_SKEW: clock_skew,
    Fault.MAINTENANCE: maintenance,
    Fault.ENGINE_RESTART: engine_restart,
    Fault.CANCEL_ONLY: cancel_only,
    Fault.POST_ONLY_MODE: post_only_mode,
    Fault.HEARTBEAT_REFUSED: heartbeat_refused,
    Fault.RATE_LIMIT_LOW: rate_limit_low,
}


@pytest.mark.parametrize("fault", [*FILLS, *VENUE])
def test_a_fault_of_fills_or_the_venue_shows_as_promised_and_is_counted(fault: Fault) -> None:
    """What the account is told, and what is so at the venue; the books are sound afterwards."""

    async def story(it: Bench) -> int:
        await {**FILLS, **VENUE}[fault](it)
        fired = counts(it).get(fault)
        return 1 if fired is None else fired  # None: the story has looked at it and ended it

    assert in_virtual_time(story, funding_interval_s=10 if fault is Fault.FUNDING_MISSING else 0) > 0


def test_all_faults_of_fills_and_the_venue_are_covered_here() -> None:
    """None is left out, and the model's are not the venue's."""
    for kind, stories in (("fills and orders", FILLS), ("venue", VENUE)):
        assert set(stories) == set(FAULTS_BY_KIND[kind])
    assert not set(BITUNIX_FAULTS) & set(FAULTS_BY_KIND["model"])
