"""An account at the loopback Bitunix: what a run does there through our own client, lists, and candles."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal

import pytest

from agora.domain.numbers import NS_PER_MS, NS_PER_S
from agora.domain.orders import Side
from agora.venues.bitunix.client import Credentials, PlaceRequest
from agora.venues.bitunix.signing import sign_login
from agora.venues.rest import Refused
from tests.simulation.network import run_networked
from tests.testnet.bitunix_bench import (
    BTC,
    ETH,
    START_NS,
    Bench,
    bench,
    check_books,
    in_virtual_time,
    trades_of,
)


async def trade_a_day(it: Bench) -> None:
    """What a run does with an account, through our own client."""
    client = it.client
    assert (await client.account()).available == 10_000
    assert {pair.symbol for pair in await client.trading_pairs()} == {BTC, ETH}
    await client.change_leverage(BTC, 20)
    assert (await client.leverage_mode(BTC)).leverage == 20
    bought = await it.place(Side.BUY, "0.05", client_id="in")
    detail = await client.order_detail(client_id="in")
    assert detail is not None
    assert (detail.order_id, detail.status, detail.trade_qty) == (bought.order_id, "FILLED", detail.qty)
    position = (await client.positions(BTC))[0]
    assert (position.side, position.qty) == (Side.BUY, detail.qty)
    assert position.entry_value == sum(row.qty * row.price for row in await client.trades(BTC))
    resting = await it.place(Side.BUY, "0.01", it.far(Side.BUY), client_id="rest")
    await client.modify(qty="0.02", price=it.far(Side.BUY, 0.01), order_id=resting.order_id)
    pending = await client.pending_orders(BTC)
    assert [(row.client_id, str(row.qty), row.status) for row in pending] == [("rest", "0.0200", "NEW")]
    with pytest.raises(Refused) as caught:
        await it.place(Side.BUY, "0.01", it.far(Side.BUY), client_id="rest")
    assert caught.value.code == 30042
    await client.cancel(BTC, client_id="rest")
    with pytest.raises(Refused) as caught:
        await client.cancel(BTC, client_id="rest")
    assert caught.value.code == 30011
    assert await client.order_detail(client_id="never") is None
    answer = await client.batch(
        [
            PlaceRequest(symbol=BTC, side=Side.BUY, order_type="LIMIT", qty=qty, price=it.far(Side.BUY), client_id=qty)
            for qty in ("0.01", "0.00001", "0.02")
        ]
    )
    assert [row.client_id for row in answer.done] == ["0.01", "0.02"]
    assert [(row.client_id, row.code) for row in answer.failed] == [("0.00001", 10002)]
    assert len((await client.cancel_all()).done) == 2
    assert [row.status for row in await client.history_orders()] == ["CANCELED"] * 3 + ["FILLED"]
    await client.close_position(position.position_id)
    assert await client.positions() == []
    closed = (await client.history_positions())[0]
    account = await client.account()
    assert account.available + account.frozen + account.margin == 10_000 + closed.realised_pnl - closed.fee
    check_books(it.venue)


@pytest.mark.requirement("B44")
def test_our_own_client_trades_in_virtual_time() -> None:
    """Money, leverage, market and limit orders, modify, cancel, batch, doubles, closing."""
    in_virtual_time(trade_a_day)


@pytest.mark.requirement("B44")
def test_our_own_client_trades_over_real_loopback_sockets() -> None:
    """The same story on this machine's own network and clock."""

    async def play() -> None:
        async with bench(is_real=True) as it:
            await trade_a_day(it)

    asyncio.run(play())


def test_in_hedge_mode_a_long_is_closed_by_a_buy_that_names_it() -> None:
    """BUY + CLOSE with the position's id comes back as a reduce-only SELL; both sides live beside one another."""

    async def story(it: Bench) -> None:
        client, hedge = it.client, {"position_mode": "HEDGE"}
        await client.change_position_mode("HEDGE")
        await it.place(Side.BUY, "0.02", **hedge)
        await it.place(Side.SELL, "0.03", **hedge)
        rows = {row.side: row for row in await client.positions()}
        assert {side: str(row.qty) for side, row in rows.items()} == {Side.BUY: "0.0200", Side.SELL: "0.0300"}
        with pytest.raises(Refused) as caught:
            await client.change_position_mode("ONE_WAY")
        assert caught.value.code == 20009
        await it.place(
            Side.SELL, "0.02", reduce_only=True, position_id=rows[Side.BUY].position_id, client_id="close", **hedge
        )
        order = await client.order_detail(client_id="close")
        assert order is not None
        assert (order.side, order.reduce_only, order.status) == (Side.SELL, True, "FILLED")
        assert [row.side for row in await client.positions()] == [Side.SELL]

    in_virtual_time(story)


def test_a_stop_fires_and_its_history_says_so() -> None:
    """Placed, modified, shown as pending, fired by the reference; the position is gone."""

    async def story(it: Bench) -> None:
        client = it.client
        await it.place(Side.BUY, "0.02")
        position = (await client.positions())[0].position_id
        terms = {"sl_qty": "0.02", "sl_stop_type": "MARK_PRICE"}
        name = await client.place_tpsl(
            symbol=BTC, position_id=position, sl_price=it.far(Side.BUY, 0.04), sl_qty="0.02", sl_stop_type="MARK_PRICE"
        )
        assert await client.modify_tpsl(name, sl_price=it.far(Side.BUY), **terms) == name
        assert [row.tpsl_id for row in await client.tpsl_pending(BTC)] == [name]
        it.venue.world.move(BTC, -0.03)
        await it.rest(1)
        assert await client.tpsl_pending(BTC) == []
        assert [(row.tpsl_id, row.status) for row in await client.tpsl_history(BTC)] == [(name, "FILLED")]
        assert await client.positions() == []

    in_virtual_time(story)


def test_lists_are_read_in_pages_newest_first() -> None:
    """skip, limit of at most a hundred, total, both ends of the span; and our client reads them whole."""

    async def story(it: Bench) -> None:
        for number in range(130):
            await it.place(Side.BUY, "0.001", it.far(Side.BUY), client_id=f"n{number}")
            await it.client.cancel(BTC, client_id=f"n{number}")
            await it.rest(0.3)
        path, asked = "/trade/get_history_orders", {"queryCanceled": "true"}
        page = (await it.signed(path, **asked)).data
        assert [row["clientId"] for row in page["orderList"]] == [f"n{number}" for number in range(129, 119, -1)]
        assert page["total"] == 130
        assert len((await it.signed(path, **asked, limit="500")).data["orderList"]) == 100
        last = (await it.signed(path, **asked, skip="125", limit="100")).data["orderList"]
        assert [row["clientId"] for row in last] == [f"n{number}" for number in range(4, -1, -1)]
        span = {"startTime": str(last[3]["ctime"]), "endTime": str(last[1]["ctime"])}
        found = (await it.signed(path, **asked, **span)).data
        assert ([row["clientId"] for row in found["orderList"]], found["total"]) == (["n3", "n2", "n1"], 3)
        assert (await it.signed(path)).data == {"orderList": [], "total": 0}
        rows = await it.client.history_orders()
        assert [row.client_id for row in rows] == [f"n{number}" for number in range(129, -1, -1)]

    in_virtual_time(story)


def test_candles_are_those_before_an_end_with_their_volumes_swapped() -> None:
    """The start does not count; newest first; base under the name of quote; the last may be forming."""

    async def story(it: Bench) -> None:
        now_ms = START_NS // NS_PER_MS
        await it.rest(90)
        rows = (await it.get("/market/kline", symbol="btcusdt", interval="1m", startTime=str(now_ms), limit="3")).data
        assert [row["time"] for row in rows] == [now_ms + 60_000, now_ms, now_ms - 60_000]
        row = rows[1]
        assert float(row["baseVol"]) == pytest.approx(float(row["quoteVol"]) * float(row["close"]), rel=0.05)
        ended = await it.get("/market/kline", symbol=BTC, interval="1m", endTime=str(now_ms), limit="2")
        assert [row["time"] for row in ended.data] == [now_ms - 60_000, now_ms - 120_000]
        marks = (await it.get("/market/kline", symbol=BTC, interval="5m", type="MARK_PRICE")).data
        assert {row["type"] for row in marks} == {"MARK_PRICE"}
        assert (await it.get("/market/kline", symbol=BTC, interval="7m")).code == 10008
        short = (await it.get("/market/kline", symbol=BTC, interval="5s", limit="200")).data
        starts = [row["time"] for row in short]
        assert starts == [starts[0] - 5_000 * number for number in range(len(starts))]
        minute = [row for row in short if now_ms <= row["time"] < now_ms + 60_000]
        assert max(float(row["high"]) for row in minute) == float(rows[1]["high"])
        assert sum(float(row["quoteVol"]) for row in minute) == pytest.approx(float(rows[1]["quoteVol"]))

    in_virtual_time(story)


def test_a_clock_that_is_ahead_does_not_close_a_candle_early() -> None:
    """While the venue shows a time after the end of the forming candle, it does not show the candle."""

    async def story(it: Bench) -> None:
        await it.rest(57)
        it.venue.world.skew_ns = 5 * NS_PER_S
        await it.client.tickers()
        assert it.client.clock_offset_ms > 4_000
        end_ns = START_NS + 70 * NS_PER_S
        rows = await it.client.klines(BTC, 60, start_ns=START_NS - 120 * NS_PER_S, end_ns=end_ns)
        assert [row.start_ms * NS_PER_MS for row in rows] == [START_NS - 120 * NS_PER_S, START_NS - 60 * NS_PER_S]

    in_virtual_time(story)


def test_fees_and_average_price_of_an_order_are_those_of_its_trades() -> None:
    """To the last decimal, for maker and taker."""

    async def story(it: Bench) -> None:
        await it.place(Side.BUY, "1.5", client_id="large")
        row = await it.client.order_detail(client_id="large")
        trades = await it.client.trades(BTC)
        assert row is not None
        assert row.fee == sum(trade.fee for trade in trades)
        value = sum(trade.qty * trade.price for trade in trades)
        assert row.average_price == pytest.approx(value / row.trade_qty)
        assert {trade.is_maker for trade in trades} == {False}
        limit = await it.place(Side.SELL, "0.02", it.far(Side.SELL, 0.001), client_id="quote")
        order = it.venue.world.exchange.order(it.number, int(limit.order_id))
        assert order is not None
        it.venue.world.hit(it.number, order)
        maker = trades_of(it)[-1]
        assert (maker.is_maker, maker.client_id) == (True, "quote")

    in_virtual_time(story, deposit="1000000", level_notional=30_000)


def test_the_wallet_of_an_account_can_be_told_from_its_parts_while_a_position_is_open() -> None:
    """Available + frozen + margin less the profit that is not realised: the reading of the reference's connector."""

    async def story(it: Bench) -> None:
        await it.place(Side.BUY, "0.05")
        await it.place(Side.BUY, "0.01", it.far(Side.BUY))
        it.venue.world.move(BTC, 0.02)
        await it.rest(1)
        row = await it.client.account()
        wallet_units = it.venue.world.exchange.account(it.number).wallet_units
        assert row.cross_unrealised_pnl > 40
        assert row.frozen > 0
        assert row.available + row.frozen + row.margin - row.cross_unrealised_pnl == Decimal(wallet_units) / 10**8

    in_virtual_time(story)


def test_the_rate_of_funding_is_one_number_wherever_it_is_asked() -> None:
    """In percent as it stands, as a fraction in history; the time of the next is on the grid."""

    async def story(it: Bench) -> None:
        await it.rest(11)
        present = await it.client.funding_rate(BTC)
        assert present.rate_ppb == 123_400
        assert present.next_funding_ms % 10_000 == 0
        (settled,) = await it.client.funding_history(BTC, start_ms=START_NS // NS_PER_MS)
        assert settled.rate_ppb == 123_400
        assert [row.symbol for row in await it.client.funding_rates()] == [BTC, ETH]

    in_virtual_time(story, funding_interval_s=10, funding_rate_ppb=123_400)


def test_two_runs_with_one_seed_answer_with_the_same_bytes() -> None:
    """Ids, prices, keys, times: everything comes from the seed and the clock."""

    def play(seed: int) -> list[bytes]:
        async def story() -> list[bytes]:
            async with bench(seed=seed) as it:
                answers = [await it.get("/market/depth", symbol=BTC, limit="15")]
                await it.place(Side.BUY, "0.02")
                await it.rest(20)
                await it.client.close_all()
                answers.append(await it.signed("/trade/get_history_trades"))
                answers.append(await it.get("/market/kline", symbol=ETH, interval="1m"))
                return [answer.body for answer in answers]

        return run_networked(story(), seed=1, start_ns=START_NS)

    assert play(5) == play(5)
    assert play(5) != play(6)


@pytest.mark.parametrize("is_on", [True, False])
def test_pushes_of_orders_come_in_either_letter_case(is_on: bool) -> None:
    """As the documentation writes sides and types, or as they were seen."""

    async def story(it: Bench) -> tuple[str, str]:
        keys, now_s = Credentials(it.account.api_key, it.account.api_secret), it.clock.now_ns() // NS_PER_S
        async with it.session.ws_connect(it.venue.urls["private_ws"]) as private:
            signature = sign_login(keys, nonce="n", timestamp_s=now_s)
            login = {"apiKey": keys.api_key, "timestamp": now_s, "nonce": "n", "sign": signature}
            await private.send_str(json.dumps({"op": "login", "args": [login]}))
            while json.loads((await private.receive()).data).get("op") != "login":
                pass
            await it.place(Side.BUY, "0.01", it.far(Side.BUY))
            while (frame := json.loads((await private.receive()).data)).get("ch") != "order":
                pass
        return frame["data"]["side"], frame["data"]["type"]

    assert in_virtual_time(story, writes_capitalised=is_on) == (("Buy", "Limit") if is_on else ("BUY", "LIMIT"))
