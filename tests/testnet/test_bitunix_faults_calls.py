"""Faults of the loopback Bitunix's calls, orders and fills, and of the venue: each shows, is counted, and ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest

from agora.domain.numbers import NS_PER_MS, NS_PER_S
from agora.domain.orders import Side
from agora.exchange.perp_records import TradingMode
from agora.testnet.bitunix_faults import BITUNIX_FAULTS
from agora.testnet.faults import FAULTS_BY_KIND, Fault
from tests.testnet.bitunix_bench import BTC, COIN, Answer, Bench, in_virtual_time
from tests.testnet.bitunix_ears import Ear, counts, ear, login, no_more, plan, private_ear

Story = Callable[[Bench], Coroutine[Any, Any, None]]
SOON = aiohttp.ClientTimeout(sock_read=1)
PLACE, CANCEL = "/trade/place_order", "/trade/cancel_orders"


def market(client_id: str, qty: str = "0.01", side: str = "BUY", **more: Any) -> dict[str, Any]:
    """The body of an order at market."""
    return {"symbol": BTC, "side": side, "orderType": "MARKET", "qty": qty, "clientId": client_id, **more}


def resting(it: Bench, client_id: str, **more: Any) -> dict[str, Any]:
    """The body of an order that rests."""
    terms = {"orderType": "LIMIT", "price": it.far(Side.BUY), "effect": "GTC"}
    return {**market(client_id), **terms, **more}


async def placed(it: Bench, body: dict[str, Any]) -> Answer:
    """The answer to an order, which must come within a second."""
    return await it.signed(PLACE, body, timeout=SOON)


async def status(it: Bench, client_id: str) -> str | None:
    """What the venue says of an order; None for one that it does not find."""
    answer = await it.signed("/trade/get_order_detail", clientId=client_id)
    return None if answer.code == 20007 else answer.data["status"].rstrip("_")


def accepted(it: Bench) -> dict[str, int]:
    """How often each client id was taken, by the ledger."""
    return {row["client_id"]: row["times_accepted"] for row in it.venue.ledger()["orders"]}


# Answers.


async def http_429(it: Bench) -> None:
    """Not carried out, with the time to wait."""
    plan(it, "http_429", target="place_order", retry_after_s=3)
    answer = await placed(it, market("a"))
    assert (answer.status, answer.headers["Retry-After"]) == (429, "3")
    assert await status(it, "a") is None


async def http_5xx(it: Bench) -> None:
    """Not carried out."""
    plan(it, "http_5xx", target="place_order")
    assert (await placed(it, market("a"))).status == 503
    assert await status(it, "a") is None


async def html(it: Bench) -> None:
    """The edge's page in place of an answer."""
    plan(it, "html", target="rest")
    answer = await it.get("/market/tickers")
    assert (answer.status, answer.headers["Content-Type"].partition(";")[0]) == (502, "text/html")
    assert answer.body.startswith(b"<!DOCTYPE html>")


async def truncated(it: Bench) -> None:
    """Carried out, and the answer cut short."""
    plan(it, "truncated", target="place_order")
    answer = await placed(it, market("a"))
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(answer.body)
    assert await status(it, "a") == "FILLED"


async def empty(it: Bench) -> None:
    """Nothing under status 200, and nothing done."""
    plan(it, "empty", target="place_order")
    answer = await placed(it, market("a"))
    assert (answer.status, answer.body) == (200, b"")
    assert await status(it, "a") is None


async def venue_code(it: Bench) -> None:
    """The code that was planned, a number or a text."""
    plan(it, "venue_code", target="place_order", code="10005")
    answer = await placed(it, market("a"))
    assert (answer.status, answer.code) == (200, 10005)
    assert await status(it, "a") is None


async def accept_then_silence(it: Bench) -> None:
    """The order is there, and nobody says so."""
    plan(it, "accept_then_silence", target="place_order")
    with pytest.raises(TimeoutError):
        await placed(it, market("a"))
    assert await status(it, "a") == "FILLED"
    assert accepted(it) == {"a": 1}


async def accept_then_5xx(it: Bench) -> None:
    """The order is there, and the answer is the edge's page."""
    plan(it, "accept_then_5xx", target="place_order")
    assert (await placed(it, resting(it, "a"))).status == 502
    assert await status(it, "a") == "NEW"


async def accept_late(it: Bench) -> None:
    """Not there when its sender gives up; there once, and once only, after the delay."""
    plan(it, "accept_late", target="place_order", delay_s=5, for_s=1)
    with pytest.raises(TimeoutError):
        await placed(it, resting(it, "a"))
    assert await status(it, "a") is None
    assert (await placed(it, resting(it, "b"))).code == 0
    await it.rest(3.5)
    assert await status(it, "a") is None
    await it.rest(0.7)
    assert await status(it, "a") == "NEW"
    await it.rest(6)
    assert accepted(it) == {"a": 1, "b": 1}


async def not_found_then_exists(it: Bench) -> None:
    """In no list and not by its id, and its trade neither; then it always was."""
    plan(it, "not_found_then_exists", target="place_order", delay_s=5, for_s=1)
    with pytest.raises(TimeoutError):
        await placed(it, market("a"))
    plan(it, "not_found_then_exists", target="place_order", delay_s=5, for_s=1)
    with pytest.raises(TimeoutError):
        await placed(it, resting(it, "b"))

    async def listed() -> tuple[int, ...]:
        paths = ("/trade/get_pending_orders", "/trade/get_history_orders", "/trade/get_history_trades")
        return tuple([(await it.signed(path)).data["total"] for path in paths])

    assert [await status(it, name) for name in "ab"] == [None, None]
    assert await listed() == (0, 0, 0)
    await it.rest(5)
    assert [await status(it, name) for name in "ab"] == ["FILLED", "NEW"]
    assert await listed() == (1, 1, 1)


async def reject(it: Bench) -> None:
    """Orders are refused for want of money; other calls are not."""
    plan(it, "reject")
    assert (await placed(it, market("a"))).code == 20003
    assert await status(it, "a") is None
    assert (await it.get("/market/tickers")).code == 0


async def post_only_reject(it: Bench) -> None:
    """Accepted, then cancelled by the venue; an order that trades at once is let be."""
    async with private_ear(it) as user:
        plan(it, "post_only_reject", target="place_order")
        assert (await placed(it, market("a"))).code == 0
        assert counts(it) == {"post_only_reject": 0}
        assert (await placed(it, resting(it, "b", effect="POST_ONLY"))).code == 0
        assert [await status(it, name) for name in "ab"] == ["FILLED", "SYSTEM_CANCELED"]
        await user.until(lambda heard: heard.of("order")[-1]["data"]["orderStatus"] == "SYSTEM_CANCELED")


ANSWERS: dict[Fault, Story] = {
    Fault.HTTP_429: http_429,
    Fault.HTTP_5XX: http_5xx,
    Fault.HTML: html,
    Fault.TRUNCATED: truncated,
    Fault.EMPTY: empty,
    Fault.VENUE_CODE: venue_code,
    Fault.ACCEPT_THEN_SILENCE: accept_then_silence,
    Fault.ACCEPT_THEN_5XX: accept_then_5xx,
    Fault.ACCEPT_LATE: accept_late,
    Fault.NOT_FOUND_THEN_EXISTS: not_found_then_exists,
    Fault.REJECT: reject,
    Fault.POST_ONLY_REJECT: post_only_reject,
}


# Fills and orders.


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
        await public.subscribe((BTC, "price"))
        await it.rest(0.7)
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


@pytest.mark.parametrize("fault", [*ANSWERS, *FILLS, *VENUE])
def test_a_fault_shows_as_promised_and_is_counted(fault: Fault) -> None:
    """What its sender gets, and what is so at the venue; the books are sound afterwards."""

    async def story(it: Bench) -> int:
        await {**ANSWERS, **FILLS, **VENUE}[fault](it)
        fired = counts(it).get(fault)
        return 1 if fired is None else fired  # None: the story has looked at it and ended it

    assert in_virtual_time(story, funding_interval_s=10 if fault is Fault.FUNDING_MISSING else 0) > 0


def test_all_faults_of_answers_fills_and_the_venue_are_covered_here() -> None:
    """None is left out, and the model's are not the venue's."""
    for kind, stories in (("answers", ANSWERS), ("fills and orders", FILLS), ("venue", VENUE)):
        assert set(stories) == set(FAULTS_BY_KIND[kind])
    assert not set(BITUNIX_FAULTS) & set(FAULTS_BY_KIND["model"])


@pytest.mark.parametrize("fault", ["accept_then_silence", "accept_then_5xx", "accept_late"])
def test_a_cancel_may_be_in_doubt_too(fault: str) -> None:
    """It is done, at once or later, and its sender does not know."""

    async def story(it: Bench) -> None:
        await placed(it, resting(it, "a"))
        plan(it, fault, target="cancel_orders", for_s=0.5)
        body = {"symbol": BTC, "orderList": [{"clientId": "a"}]}
        if fault == "accept_then_5xx":
            assert (await it.signed(CANCEL, body)).status == 502
        else:
            with pytest.raises(TimeoutError):
                await it.signed(CANCEL, body, timeout=SOON)
        assert await status(it, "a") == ("NEW" if fault == "accept_late" else "CANCELED")
        await it.rest(5)
        assert await status(it, "a") == "CANCELED"
        assert counts(it) == {fault: 1}

    in_virtual_time(story)


@pytest.mark.parametrize("fault, code", [("refuse", 0), ("slow", 200), ("sliced", 200)])
def test_calls_may_be_refused_slow_or_in_pieces(fault: str, code: int) -> None:
    """A named call only; one that was refused is logged as not answered."""

    async def story(it: Bench) -> None:
        await it.get("/market/tickers")
        plan(it, fault, target="depth", **({"delay_s": 2} if fault == "slow" else {}))
        started_ns = it.clock.now_ns()
        if fault == "refuse":
            with pytest.raises(aiohttp.ClientError):
                await it.get("/market/depth", symbol=BTC)
        else:
            answer = await it.get("/market/depth", symbol=BTC)
            assert len(answer.data["bids"]) >= 15
            assert "Date" in answer.headers
        assert (it.clock.now_ns() - started_ns >= 2 * NS_PER_S) == (fault == "slow")
        await it.get("/market/tickers")
        rows = it.venue.log.all()
        assert {row.status for row in rows if row.path.endswith("depth")} == {code}
        assert {row.status for row in rows if row.path.endswith("tickers")} == {200}

    in_virtual_time(story)


@pytest.mark.parametrize("value", ["abc", "NaN", "1e400", "", None, [], {}, True, "-5"])
def test_no_number_of_a_request_disturbs_the_faults(value: Any) -> None:
    """Sizes and prices that are none are refused as ever, and nothing fails within."""

    async def story(it: Bench) -> None:
        for fault in ("partial_flatten", "tick_size_change", "cancel_fill_race", "post_only_reject"):
            plan(it, fault)
        await it.rest(0.2)
        for body in (
            market("a", value, reduceOnly=True),
            resting(it, "b", price=value),
            {**market("c"), "symbol": value},
        ):
            answer = await placed(it, body)
            assert (answer.status, answer.code == 0) == (200, False), body
        for rows in (value, [value], [{"clientId": value}]):
            for path in (CANCEL, "/trade/batch_order"):
                answer = await it.signed(path, {"symbol": BTC, "orderList": rows})
                assert answer.status == 200
                await it.rest(1)

    in_virtual_time(story)


def test_silent_answers_end_with_the_venue() -> None:
    """Whoever waits for an answer that never comes is let go when the venue stops."""

    async def story(it: Bench) -> asyncio.Task[Answer]:
        plan(it, "accept_then_silence")
        waiting = asyncio.create_task(it.signed(PLACE, market("a")))
        await it.rest(30)
        assert not waiting.done()
        it.venue.mischief.stop_waiting()
        assert (await waiting).status == 503
        return waiting

    in_virtual_time(story)
