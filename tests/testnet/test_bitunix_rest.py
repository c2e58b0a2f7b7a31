"""REST of the loopback Bitunix: shapes and errors of the samples, signatures, limits, paging, our own client on it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agora.domain.numbers import NS_PER_MS, NS_PER_S
from agora.domain.orders import Side
from agora.testnet.bitunix_calls import CALLS, PREFIX
from agora.venues.bitunix.client import Credentials, PlaceRequest
from agora.venues.rest import Refused
from tests.simulation.network import run_networked
from tests.testnet.bitunix_bench import (
    BTC,
    COIN,
    ETH,
    START_NS,
    Bench,
    bench,
    check_books,
    in_virtual_time,
    sign,
    trades_of,
)

# Samples whose answers are not of a call, or whose call this venue does not carry out (no isolated margin).
NOT_ANSWERED = {"adjust_position_margin", "account_list_variant"}
# Of the samples' keys those of which the wire has another type in places (reference, section 1).
TIMES = {"ctime", "mtime", "fundingTime", "nextFundingTime"}


def samples(folder: Path) -> list[dict[str, Any]]:
    """The documented and captured answers."""
    found = json.loads((folder / "bitunix" / "rest_examples.json").read_text())
    assert isinstance(found, list)
    return found


async def busy(it: Bench) -> dict[str, str]:
    """An account with something of everything; the ids that requests need."""
    await it.client.change_leverage(BTC, 10)
    await it.place(Side.BUY, "0.02")
    await it.place(Side.SELL, "0.02", reduce_only=True)
    await it.place(Side.BUY, "0.02", client_id="held")
    resting = await it.place(Side.BUY, "0.01", it.far(Side.BUY), client_id="resting")
    position = (await it.client.positions())[0].position_id
    tpsl = await it.client.place_tpsl(
        symbol=BTC, position_id=position, sl_price=it.far(Side.BUY, 0.03), sl_qty="0.01", sl_stop_type="LAST_PRICE"
    )
    await it.rest(5)
    return {"orderId": resting.order_id, "positionId": position, "tpsl": tpsl}


def request_like(sample: dict[str, Any], it: Bench, ids: dict[str, str]) -> dict[str, Any]:
    """The sample's body or query with ids and prices that mean something here."""
    asked: dict[str, Any] = dict(sample["body"] or sample["query"] or {})
    path = sample["path"]
    if path.endswith("/trade/place_order"):
        asked = {**asked, "price": it.far(Side.BUY), "qty": "0.01", "tradeSide": "OPEN", "tpPrice": it.far(Side.SELL)}
        asked["tpOrderPrice"] = it.far(Side.SELL)
    if path.endswith("batch_order"):
        rows = [{**row, "qty": "0.01", "price": it.far(Side.BUY)} for row in asked["orderList"]]
        asked["orderList"] = [rows[0], {**rows[1], "qty": "0.00001"}]
    if path.endswith(("cancel_orders", "modify_order", "get_order_detail")):
        asked["orderId"] = ids["orderId"]
    if path.endswith("modify_order"):
        asked |= {"price": it.far(Side.BUY), "qty": "0.02"}
    if "positionId" in asked:
        asked["positionId"] = ids["positionId"]
    if "marginMode" in asked:
        asked["marginMode"] = "CROSS"
    if "positionMode" in asked:
        asked["positionMode"] = "ONE_WAY"
    if "/tpsl/" in path:
        below = {"slPrice": it.far(Side.BUY, 0.025), "slStopType": "MARK_PRICE"}
        asked = {key: value for key, value in asked.items() if not key.startswith("tp")} | below
        asked |= {"slOrderPrice": it.far(Side.BUY, 0.025), "slQty": "0.01"} if "slQty" in asked else {}
        asked |= {"orderId": ids["tpsl"]} if "orderId" in asked else {}
    return asked


def differences(sample: Any, answer: Any, at: str = "data") -> list[str]:
    """Keys of the sample that an answer lacks, and values of another type; null stands for anything unset."""
    if isinstance(sample, list):
        if not isinstance(answer, list):
            return [f"{at}: no list"]
        return [text for row in answer[:1] for text in differences(sample[0], row, f"{at}[0]")] if sample else []
    if isinstance(sample, dict):
        if not isinstance(answer, dict):
            return [f"{at}: no object"]
        missing = [f"{at}.{key}: missing" for key in sample if key not in answer]
        return missing + [
            text
            for key, value in sample.items()
            if key in answer and key not in TIMES
            for text in differences(value, answer[key], f"{at}.{key}")
        ]
    if sample is None or answer is None or type(sample) is type(answer):
        return []
    return [f"{at}: {answer!r}, the sample has {sample!r}"]


@pytest.mark.requirement("B44")
def test_every_answer_has_the_keys_and_types_of_its_sample(venue_samples: Path) -> None:
    """All documented calls, each answered with rows in it."""

    async def story(it: Bench) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        ids = await busy(it)
        names = {(call.method, PREFIX + call.path): call for call in CALLS.values()}
        seen = set()
        # What ends things is asked last.
        enders = ("tpsl_cancel", "cancel_orders", "cancel_all_orders", "flash_close_position", "close_all_position")
        ordered = sorted(samples(venue_samples), key=lambda row: row["id"] in enders and enders.index(row["id"]) + 1)
        for sample in ordered:
            if sample["id"] in NOT_ANSWERED or sample["response"]["code"]:
                continue
            call = names[sample["method"], sample["path"]]
            seen.add(call)
            asked = request_like(sample, it, ids)
            if sample["id"] == "change_leverage":
                await it.client.cancel_all()
            if not call.is_signed:
                answer = await it.get(call.path, **asked)
            elif call.method == "GET":
                answer = await it.signed(call.path, **asked)
            else:
                answer = await it.signed(call.path, asked)
            if sample["id"] == "change_leverage":
                ids["orderId"] = (await it.place(Side.BUY, "0.01", it.far(Side.BUY))).order_id
            assert (answer.status, answer.code) == (200, 0), (sample["id"], asked, answer.body)
            found[sample["id"]] = differences(sample["response"]["data"], answer.data)
            assert set(answer.envelope) == {"code", "data", "msg"}
            await it.rest(1.1)
        assert {call.path for call in names.values()} - {call.path for call in seen} == {
            "/account/adjust_position_margin",
            "/tpsl/get_history_orders",
        }
        return found

    found = in_virtual_time(story, funding_interval_s=7)
    assert {name: texts for name, texts in found.items() if texts} == {}
    assert len(found) > 25


@pytest.mark.requirement("B44")
def test_captured_errors_come_byte_for_byte_with_status_200(venue_samples: Path) -> None:
    """Unknown symbol, missing symbol, a value outside its list, an unknown path."""
    refused = [sample for sample in samples(venue_samples) if sample["response"]["code"]]
    assert len(refused) == 4

    async def story(it: Bench) -> None:
        for sample in refused:
            words = "&".join(f"{key}={value}" for key, value in (sample["query"] or {}).items())
            answer = await it.send("GET", f"{sample['path']}?{words}")
            assert answer.status == 200
            assert answer.envelope == sample["response"], sample["id"]

    in_virtual_time(story)


@pytest.mark.requirement("B44")
def test_signatures_of_the_vectors_are_accepted_and_no_others(venue_samples: Path) -> None:
    """The vector of a call that exists here, its nonce, time and keys; then with one thing of it changed."""
    vectors = json.loads((venue_samples / "bitunix" / "signature_vectors.json").read_text())["vectors"]
    usable = [vector for vector in vectors if vector["query"] == "marginCoinUSDT"]
    assert len(usable) == 2

    async def story(it: Bench) -> None:
        for vector in usable:
            it.venue.world.open_account(vector["api_key"], vector["secret_key"])
            headers = {
                "api-key": vector["api_key"],
                "nonce": vector["nonce"],
                "timestamp": vector["timestamp"],
                "sign": vector["sign"],
            }
            path = f"{PREFIX}/account?marginCoin=USDT"
            assert (await it.send("GET", path, headers=headers)).code == 0
            for name in headers:
                spoiled = {**headers, name: headers[name][:-1] + "x"}
                assert (await it.send("GET", path, headers=spoiled)).code == 10007, name
            answer = await it.send("GET", path, headers={"sign": headers["sign"]})
            assert answer.envelope == {"code": 10003, "data": None, "msg": "api-key can't be empty"}

    in_virtual_time(story)


def test_what_is_signed_is_the_raw_value_and_the_very_bytes() -> None:
    """A comma is signed as such and sent escaped; a body with spaces is signed with them; one byte changed is 10007."""

    async def story(it: Bench) -> None:
        keys = Credentials(it.account.api_key, it.account.api_secret)
        query = {"symbol": BTC, "clientId": "a,b c+d%2C"}
        assert (await it.signed("/trade/get_order_detail", **query)).code == 20007
        raw = b'{ "symbol" : "BTCUSDT" }'
        headers = sign(keys, {}, raw, now_ns=it.clock.now_ns())
        path = f"{PREFIX}/trade/cancel_all_orders"
        assert (await it.send("POST", path, headers=headers, data=raw)).code == 0
        assert (await it.send("POST", path, headers=headers, data=raw.replace(b" ", b""))).code == 10007
        assert (await it.send("POST", path, headers=headers, data=raw + b"\xff")).code == 10007

    in_virtual_time(story)


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


@pytest.mark.parametrize(
    "path, body, admitted",
    [
        ("/trade/get_pending_orders", None, 10),
        ("/trade/cancel_all_orders", {}, 10),
        ("/trade/flash_close_position", {"positionId": "1"}, 5),
        ("/trade/close_all_position", {}, 1),
    ],
)
def test_more_than_so_many_calls_a_second_are_refused(path: str, body: Any, admitted: int) -> None:
    """Each call has its own count, each account too, and a second later there is room again."""

    async def story(it: Bench) -> None:
        codes = [(await it.signed(path, body)).code for _ in range(admitted + 3)]
        assert [code == 10006 for code in codes] == [False] * admitted + [True] * 3
        other = it.venue.world.open_account()
        assert (await it.signed(path, body, account=other)).code != 10006
        assert (await it.signed("/account", **COIN)).code == 0
        await it.rest(1)
        assert (await it.signed(path, body)).code != 10006

    in_virtual_time(story)


def test_public_calls_share_the_limit_of_their_address() -> None:
    """Ten a second of each call, whoever asks."""

    async def story(it: Bench) -> None:
        codes = [(await it.get("/market/tickers")).code for _ in range(12)]
        assert codes == [0] * 10 + [10006] * 2
        assert (await it.get("/market/depth", symbol=BTC)).code == 0

    in_virtual_time(story)


def test_the_date_header_shows_the_clock_of_the_venue() -> None:
    """Also where it is off; our client measures that."""

    async def story(it: Bench) -> None:
        answer = await it.get("/market/tickers")
        assert answer.headers["Date"] == "Sat, 26 Sep 2026 23:45:00 GMT"
        it.venue.world.skew_ns = -90 * NS_PER_S
        assert (await it.get("/nope")).headers["Date"] == "Sat, 26 Sep 2026 23:43:30 GMT"
        await it.client.tickers()
        assert -91_000 <= it.client.clock_offset_ms <= -89_000
        order = await it.signed(
            "/trade/place_order",
            {"symbol": BTC, "side": "BUY", "orderType": "MARKET", "qty": "0.01", "clientId": "a"},
        )
        row = (await it.signed("/trade/get_order_detail", orderId=order.data["orderId"])).data
        assert row["ctime"] // 1_000 == (START_NS // NS_PER_S) - 90

    in_virtual_time(story)


REFUSALS: tuple[tuple[str, dict[str, Any], int], ...] = (
    ("/trade/place_order", {}, 1),
    ("/trade/place_order", {"symbol": "NOPEUSDT"}, 20015),
    ("/trade/place_order", {"symbol": BTC, "side": "HOLD", "orderType": "MARKET", "qty": "1"}, 10008),
    ("/trade/place_order", {"symbol": BTC, "side": "BUY", "orderType": "STOP", "qty": "1"}, 10008),
    ("/trade/place_order", {"symbol": BTC, "side": "BUY", "orderType": "MARKET"}, 10002),
    ("/trade/place_order", {"symbol": BTC, "side": "BUY", "orderType": "MARKET", "qty": "NaN"}, 10002),
    ("/trade/place_order", {"symbol": BTC, "side": "BUY", "orderType": "MARKET", "qty": "1e400"}, 10002),
    ("/trade/place_order", {"symbol": BTC, "side": "BUY", "orderType": "MARKET", "qty": "0.00015"}, 10002),
    ("/trade/place_order", {"symbol": BTC, "side": "BUY", "orderType": "MARKET", "qty": "-1"}, 30017),
    ("/trade/place_order", {"symbol": BTC, "side": "BUY", "orderType": "MARKET", "qty": "9999999"}, 30013),
    ("/trade/place_order", {"symbol": BTC, "side": "BUY", "orderType": "MARKET", "qty": "100"}, 20002),
    ("/trade/place_order", {"symbol": BTC, "side": "BUY", "orderType": "MARKET", "qty": "5"}, 20003),
    ("/trade/place_order", {"symbol": BTC, "side": "BUY", "orderType": "LIMIT", "qty": "0.01"}, 10002),
    (
        "/trade/place_order",
        {"symbol": BTC, "side": "BUY", "orderType": "LIMIT", "qty": "0.01", "price": "99999"},
        30014,
    ),
    ("/trade/place_order", {"symbol": BTC, "side": "SELL", "orderType": "LIMIT", "qty": "0.01", "price": "9"}, 30015),
    (
        "/trade/place_order",
        {"symbol": BTC, "side": "SELL", "orderType": "MARKET", "qty": "0.01", "reduceOnly": True},
        30018,
    ),
    ("/trade/batch_order", {"symbol": BTC, "orderList": [{}] * 6}, 20016),
    ("/trade/batch_order", {"symbol": BTC, "orderList": "x"}, 10002),
    ("/trade/cancel_orders", {"symbol": BTC, "orderList": []}, 10002),
    ("/trade/modify_order", {"orderId": "77", "price": "1", "qty": "1"}, 20007),
    ("/trade/flash_close_position", {"positionId": "77"}, 30004),
    ("/account/change_leverage", {"symbol": BTC, "marginCoin": "USDT", "leverage": 999}, 20005),
    ("/account/change_margin_mode", {"symbol": BTC, "marginCoin": "USDT", "marginMode": "ISOLATION"}, 10008),
    ("/account/change_position_mode", {"positionMode": "BOTH"}, 10008),
    ("/tpsl/place_order", {"symbol": BTC, "positionId": "77", "slPrice": "50000", "slQty": "0.01"}, 30004),
    ("/tpsl/cancel_order", {"symbol": BTC, "orderId": "77"}, 20007),
)


@pytest.mark.parametrize("path, body, code", REFUSALS, ids=[f"{row[2]}-{n}" for n, row in enumerate(REFUSALS)])
def test_what_cannot_be_done_is_refused_with_the_code_for_it(path: str, body: dict[str, Any], code: int) -> None:
    """And changes nothing."""

    async def story(it: Bench) -> None:
        assert (await it.signed(path, body)).code == code
        assert it.venue.world.exchange.orders(it.number) == []

    in_virtual_time(story, history_minutes=0)


def test_a_body_that_is_no_object_is_a_parameter_error() -> None:
    """Signed rightly, and still nothing that can be meant."""

    async def story(it: Bench) -> None:
        keys = Credentials(it.account.api_key, it.account.api_secret)
        for raw in (b"[1]", b"{", b"null", b"\x00", b"[" * 100_000):
            headers = sign(keys, {}, raw, now_ns=it.clock.now_ns())
            answer = await it.send("POST", f"{PREFIX}/trade/place_order", headers=headers, data=raw)
            assert answer.code == 10002, raw[:10]
            await it.rest(0.2)

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
        end_ns = START_NS + 70 * NS_PER_S
        rows = await it.client.klines(BTC, 60, start_ns=START_NS - 120 * NS_PER_S, end_ns=end_ns)
        assert [row.start_ms * NS_PER_MS for row in rows] == [START_NS - 120 * NS_PER_S, START_NS - 60 * NS_PER_S]

    in_virtual_time(story)


async def first(it: Bench, path: str, key: str = "", **query: str) -> dict[str, Any]:
    """The first row of an answer."""
    await it.place(Side.BUY, "0.01", it.far(Side.BUY))
    await it.place(Side.BUY, "0.02", client_id="bought")
    await it.rest(6)
    data = (await it.signed(path, **query)).data
    rows = data[key] if key else data
    row = rows[0] if isinstance(rows, list) else rows
    assert isinstance(row, dict)
    return row


QUIRKS: dict[str, tuple[str, str, dict[str, str], Callable[[dict[str, Any]], Any], Any, Any]] = {
    "writes_times_as_text": (
        "/position/get_pending_positions", "", {}, lambda row: type(row["ctime"]).__name__, "str", "int",
    ),
    "writes_sides_as_orders": ("/position/get_pending_positions", "", {}, lambda row: row["side"], "BUY", "LONG"),
    "writes_new_with_underscore": (
        "/trade/get_pending_orders", "orderList", {}, lambda row: row["status"], "NEW_", "NEW",
    ),
    "writes_market_as_price": (
        "/trade/get_order_detail", "", {"clientId": "bought"}, lambda row: row["price"], "market", "",
    ),
    "writes_capitalised": (
        "/trade/get_order_detail", "", {"clientId": "bought"}, lambda row: row["side"], "Buy", "BUY",
    ),
    "omits_client_ids_of_trades": (
        "/trade/get_history_trades", "tradeList", {}, lambda row: row["clientId"], None, "bought",
    ),
    "gives_funding_in_percent": (
        "/market/funding_rate", "", {"symbol": BTC}, lambda row: row["fundingRate"], "0.01", "0.0001",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", QUIRKS)
@pytest.mark.parametrize("is_on", [True, False])
def test_a_quirk_of_the_wire_can_be_switched(name: str, is_on: bool) -> None:
    """On as connectors report it, off as the documentation has it."""
    path, key, query, read, on, off = QUIRKS[name]

    async def story(it: Bench) -> Any:
        return read(await first(it, path, key, **query))

    assert in_virtual_time(story, **{name: is_on}) == (on if is_on else off)


def test_the_account_comes_as_an_object_or_as_a_list_of_one() -> None:
    """Both are on record; the client reads both."""

    async def story(it: Bench) -> Any:
        assert (await it.client.account()).available == 10_000
        return (await it.signed("/account", **COIN)).data

    assert isinstance(in_virtual_time(story), dict)
    assert isinstance(in_virtual_time(story, writes_account_as_list=True), list)


def test_a_cold_venue_answers_the_first_call_for_contracts_with_code_1() -> None:
    """And the client asks again."""

    async def story(it: Bench) -> None:
        assert (await it.get("/market/trading_pairs")).envelope == {"code": 1, "data": None, "msg": "Network Error"}
        assert (await it.get("/market/trading_pairs")).code == 0

    async def again(it: Bench) -> int:
        return len(await it.client.trading_pairs())

    in_virtual_time(story, starts_cold=True)
    assert in_virtual_time(again, starts_cold=True) == 2


def test_times_and_nonces_are_checked_where_that_is_wished() -> None:
    """Off by default, since nobody knows what the venue does."""

    async def story(it: Bench) -> None:
        keys = Credentials(it.account.api_key, it.account.api_secret)
        path = f"{PREFIX}/account?marginCoin=USDT"
        codes = []
        for nonce, off_s in (("a" * 32, 0), ("a" * 32, 0), ("b" * 32, 60), ("c" * 32, -60), ("d" * 32, 1)):
            headers = sign(keys, COIN, b"", now_ns=it.clock.now_ns() + off_s * NS_PER_S, nonce=nonce)
            codes.append((await it.send("GET", path, headers=headers)).code)
        is_checked = it.venue.world.settings.checks_nonce
        assert codes == ([0, 10007, 10007, 10007, 0] if is_checked else [0] * 5)

    in_virtual_time(story)
    in_virtual_time(story, checks_skew=True, checks_nonce=True)


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
