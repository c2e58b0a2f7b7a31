"""REST of the loopback Bitunix: shapes and errors of the samples, signatures, limits, paging, our own client on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agora.domain.numbers import NS_PER_S
from agora.domain.orders import Side
from agora.testnet.bitunix_calls import CALLS, PREFIX
from agora.venues.bitunix.client import Credentials
from tests.testnet.bitunix_bench import (
    BTC,
    COIN,
    START_NS,
    Bench,
    in_virtual_time,
    sign,
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
