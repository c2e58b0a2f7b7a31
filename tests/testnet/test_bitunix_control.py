"""The control port of the loopback Bitunix, the notes of every order, and what the venue says of itself."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from agora.domain.numbers import NS_PER_S
from agora.domain.orders import Side
from agora.testnet.bitunix import TARGETS, bitunix_testnet, run_bitunix_testnet
from agora.testnet.bitunix_calls import CALLS
from agora.testnet.bitunix_settings import BitunixTestnetSettings
from agora.testnet.faults import FAULTS_BY_KIND
from agora.venues.bitunix.signing import Credentials, sign_login
from tests.simulation.loop import VirtualClock
from tests.simulation.network import NetworkLoop, run_networked, serving
from tests.testnet.bitunix_bench import BTC, COIN, ETH, START_NS, Bench, in_virtual_time


@pytest.mark.requirement("B44")
def test_the_venue_says_where_it_is_and_which_accounts_it_has() -> None:
    """Three addresses, a control port, funded accounts; the same keys for the same seed."""

    async def story(it: Bench) -> dict[str, Any]:
        said = it.venue.announcement()
        assert set(said) == {"venue", "urls", "control", "accounts"}
        assert set(said["urls"]) == {"rest", "public_ws", "private_ws"}
        assert said["urls"]["private_ws"].endswith("/private/")
        assert [account["balances"] for account in said["accounts"]] == [{"USDT": "2500.50"}] * 3
        assert len({account["api_key"] for account in said["accounts"]}) == 3
        return said

    terms = {"accounts": 3, "deposit": "2500.5"}
    assert in_virtual_time(story, **terms) == in_virtual_time(story, **terms)
    assert in_virtual_time(story, **terms) != in_virtual_time(story, seed=2, **terms)


def test_accounts_are_opened_with_keys_of_ones_own_or_made_ones() -> None:
    """Funded at once; what cannot be is refused with a reason, and a key is given once."""

    async def story(it: Bench) -> None:
        made = (await it.control("POST", "/accounts", {})).envelope
        assert made["balances"] == {"USDT": "10000.00"}
        wished = {"api_key": "mine", "api_secret": "my-secret", "deposit": "7"}
        assert (await it.control("POST", "/accounts", wished)).envelope["balances"] == {"USDT": "7.00"}
        account = it.venue.world.accounts["mine"]
        assert (await it.signed("/account", account=account, **COIN)).data["available"] == "7.00"
        for wrong in (wished, {"api_key": "other", "deposit": "-1"}, {"deposit": "x"}, {"key": "a"}, [1]):
            answer = await it.control("POST", "/accounts", wrong)
            assert answer.status == 400, wrong
            assert answer.envelope["error"]
        assert len(it.venue.world.accounts) == 3

    in_virtual_time(story)


def test_faults_are_known_by_name_and_so_are_their_targets() -> None:
    """Everything but the model's; an unknown one is answered with those that are known."""

    async def story(it: Bench) -> None:
        kinds = ("connections", "messages", "answers", "fills and orders", "venue")
        entries = [{"fault": fault, "at_s": 900} for kind in kinds for fault in FAULTS_BY_KIND[kind]]
        assert (await it.control("POST", "/faults", entries)).envelope == {"added": len(entries)}
        for target in TARGETS:
            entry = {"fault": "slow", "target": target, "at_s": 900}
            assert (await it.control("POST", "/faults", [entry])).status == 200, target
        for wrong in ({"fault": "model_slow"}, {"fault": "slow", "target": "nowhere"}, {"fault": "nothing"}):
            answer = await it.control("POST", "/faults", [wrong])
            assert answer.status == 400
            assert "knows" in answer.envelope["error"]
        assert len(json.loads((await it.control("GET", "/faults")).body)) == len(entries) + len(TARGETS)
        assert (await it.control("DELETE", "/faults")).envelope == {"removed": len(entries) + len(TARGETS)}

    assert set(CALLS) < set(TARGETS)
    in_virtual_time(story)


def test_requests_are_listed_with_what_became_of_them_and_without_secrets() -> None:
    """Time, path, whether the signature was valid, status and code; none for a call that needs no signature."""

    async def story(it: Bench) -> None:
        await it.get("/market/tickers")
        await it.signed("/account", **COIN)
        await it.signed("/trade/get_order_detail", orderId="9")
        await it.send("GET", "/api/v1/futures/account?marginCoin=USDT", headers={"api-key": "x"})
        await it.send("GET", "/nope")
        answer = await it.control("GET", "/requests")
        rows = [
            (row["path"].rpartition("/")[2], row["is_key_valid"], row["status"], row["code"])
            for row in answer.envelope["requests"]
        ]
        assert rows == [
            ("tickers", None, 200, 0),
            ("account", True, 200, 0),
            ("get_order_detail", True, 200, 20007),
            ("account", False, 200, 10007),
            ("nope", None, 200, 404),
        ]
        assert all(row["ts_ns"] >= START_NS for row in answer.envelope["requests"])
        ledger = await it.control("GET", "/ledger")
        assert it.account.api_secret.encode() not in answer.body + ledger.body

    in_virtual_time(story)


def test_the_reference_is_moved_and_frozen() -> None:
    """By a fraction, to a price, of one symbol or all; nonsense is refused."""

    async def story(it: Bench) -> None:
        before = it.venue.world.references()
        moved = (await it.control("POST", "/price", {"fraction": 0.1, "freeze": True})).envelope
        assert moved["references"][ETH] == pytest.approx(before[ETH] * 1.1)
        await it.rest(5)
        assert it.venue.world.references() == moved["references"]
        set_to = (await it.control("POST", "/price", {"symbol": "btcusdt", "price": 70_000, "freeze": False})).envelope
        assert (set_to["references"][BTC], set_to["is_frozen"]) == (pytest.approx(70_000), False)
        for wrong in ({"symbol": "X", "fraction": 0.1}, {"price": 5}, {"fraction": -1}, {"fraction": "a"}, {"up": 1}):
            assert (await it.control("POST", "/price", wrong)).status == 400, wrong

    in_virtual_time(story)


def test_time_is_told_and_its_pace_changed() -> None:
    """The venue's own time and factor; a factor of nothing is refused."""

    async def story(it: Bench) -> None:
        told = (await it.control("GET", "/time")).envelope
        assert told["factor"] == 1.0
        assert abs(told["now_ns"] - it.clock.now_ns()) < NS_PER_S // 10
        assert (await it.control("POST", "/time", {"factor": 20})).envelope["factor"] == 20
        await it.rest(10)
        later = (await it.control("GET", "/time")).envelope["now_ns"]
        assert later - told["now_ns"] == pytest.approx(200 * NS_PER_S, rel=0.01)
        for wrong in ({"factor": 0}, {"factor": -1}, {}, {"factor": 1e9}):
            assert (await it.control("POST", "/time", wrong)).status == 400

    in_virtual_time(story)


def noted(it: Bench) -> list[dict[str, Any]]:
    """The orders of the ledger, as it goes over the wire."""
    rows = json.loads(json.dumps(it.venue.ledger()))["orders"]
    assert isinstance(rows, list)
    return rows


@pytest.mark.requirement("B44")
def test_every_order_received_is_noted_taken_or_not() -> None:
    """Client id, size, side, whether it increases, how often it was taken, and the worst case at that time."""

    async def story(it: Bench) -> None:
        body = {"symbol": BTC, "side": "BUY", "orderType": "LIMIT", "qty": "0.01", "price": it.far(Side.BUY)}
        await it.signed("/trade/place_order", {**body, "clientId": "a"})
        await it.signed("/trade/place_order", {**body, "clientId": "a"})
        await it.signed("/trade/place_order", {**body, "clientId": "b", "qty": "0.00001"})
        await it.signed(
            "/trade/batch_order",
            {"symbol": BTC, "orderList": [{**body, "clientId": "c"}, {**body, "clientId": "d", "qty": "0"}]},
        )
        await it.signed("/trade/modify_order", {"clientId": "a", "qty": "0.03", "price": it.far(Side.BUY)})
        rows = noted(it)
        columns = ("call", "client_id", "size", "accepted", "times_accepted", "worst_lots_before", "worst_lots")
        assert [tuple(row[name] for name in columns) for row in rows] == [
            ("place_order", "a", "0.01", True, 1, 0, 100),
            ("place_order", "a", "0.01", False, 1, 100, 100),
            ("place_order", "b", "0.00001", False, 0, 100, 100),
            ("batch_order", "c", "0.01", True, 1, 100, 200),
            ("batch_order", "d", "0", False, 0, 100, 100),
            ("modify_order", "a", "0.03", True, 1, 200, 400),
        ]
        assert {row["is_increasing"] for row in rows} == {True}
        assert {(row["account"], row["symbol"], row["side"]) for row in rows} == {(it.account.api_key, BTC, "BUY")}
        assert all(row["ts_ns"] >= START_NS for row in rows)
        await it.place(Side.BUY, "0.02", client_id="in")
        await it.place(Side.SELL, "0.01", client_id="less", reduce_only=True)
        await it.place(Side.SELL, "0.01", client_id="also less")
        await it.place(Side.SELL, "0.01", client_id="more")
        increasing = {row["client_id"]: row["is_increasing"] for row in noted(it)[-4:]}
        assert increasing == {"in": True, "less": False, "also less": False, "more": True}

    in_virtual_time(story)


def test_an_order_that_is_never_carried_out_is_noted_too() -> None:
    """Refused before, or accepted long after its answer was due."""

    async def story(it: Bench) -> None:
        await it.control("POST", "/faults", [{"fault": "reject", "target": "place_order", "for_s": 1}])
        body = {"symbol": BTC, "side": "BUY", "orderType": "MARKET", "qty": "0.01"}
        await it.signed("/trade/place_order", {**body, "clientId": "never"})
        await it.rest(1.5)
        late = [{"fault": "accept_late", "delay_s": 3, "for_s": 1}]
        await it.control("POST", "/faults", late)
        timeout = aiohttp.ClientTimeout(sock_read=1)
        with pytest.raises(aiohttp.ServerTimeoutError):
            await it.signed("/trade/place_order", {**body, "clientId": "late"}, timeout=timeout)
        assert [row["accepted"] for row in noted(it)] == [False, False]
        await it.rest(3)
        assert [(row["client_id"], row["times_accepted"]) for row in noted(it)] == [("never", 0), ("late", 1)]

    in_virtual_time(story)


@pytest.mark.requirement("B44")
def test_an_order_is_noted_with_what_its_sender_could_know() -> None:
    """The age of the newest market datum, the time from its bytes, and the health of the private stream."""

    async def story(it: Bench) -> None:
        await it.place(Side.BUY, "0.01", client_id="blind")
        async with it.session.ws_connect(it.venue.urls["public_ws"]) as public:
            await public.send_str(json.dumps({"op": "subscribe", "args": [{"symbol": BTC, "ch": "depth_book15"}]}))
            while json.loads((await public.receive()).data).get("ch") != "depth_book15":
                pass
            await it.place(Side.BUY, "0.01", client_id="seeing")
        keys, now_s = Credentials(it.account.api_key, it.account.api_secret), it.clock.now_ns() // NS_PER_S
        async with it.session.ws_connect(it.venue.urls["private_ws"]) as private:
            signature = sign_login(keys, nonce="n", timestamp_s=now_s)
            login = {"apiKey": keys.api_key, "timestamp": now_s, "nonce": "n", "sign": signature}
            await private.send_str(json.dumps({"op": "login", "args": [login]}))
            while json.loads((await private.receive()).data).get("op") != "login":
                pass
            await it.rest(2)
            await it.place(Side.BUY, "0.01", client_id="told")
        blind, seeing, told = noted(it)
        assert (blind["market_age_ms"], blind["market_to_request_us"]) == (None, None)
        assert 0 < seeing["market_age_ms"] < 400
        assert 0 < seeing["market_to_request_us"] < 400_000
        assert not seeing["private_stream"]["connected"]
        assert told["market_age_ms"] > 2_000
        assert told["private_stream"]["connected"]
        assert 1_500 < told["private_stream"]["silent_ms"] < 2_500

    in_virtual_time(story)


@pytest.mark.requirement("B44")
def test_the_ledger_holds_every_account_in_exact_units() -> None:
    """Cash, positions, open orders, fills, fees and funding, each as text and as whole units."""

    async def story(it: Bench) -> None:
        await it.place(Side.BUY, "0.02", client_id="in")
        await it.place(Side.BUY, "0.01", it.far(Side.BUY), client_id="rest")
        await it.rest(20)
        ledger = (await it.control("GET", "/ledger")).envelope
        (account,) = ledger["accounts"]
        position = (await it.client.positions())[0]
        (row,) = account["positions"]
        assert (row["lots"], row["cost"], row["funding"]) == (200, f"{position.entry_value}", f"{position.funding}")
        assert position.funding < 0
        assert row["cost_units"] == sum(fill["price_ticks"] * fill["size_lots"] * 1_000 for fill in account["fills"])
        assert account["net_lots"] == {BTC: 200, ETH: 0}
        assert [order["client_id"] for order in account["open_orders"]] == ["rest"]
        assert account["fees_units"] == sum(fill["fee_units"] for fill in account["fills"]) > 0
        assert account["funding_units"] < 0
        totals = ledger["totals"]
        assert totals["fees_units"] >= account["fees_units"]

    in_virtual_time(story, funding_interval_s=10)


def test_a_venue_that_nobody_visits_ends_by_itself() -> None:
    """After the minutes that were set, announced once; with none set it stays."""

    async def play(idle_minutes: float, limit_s: float) -> list[str]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, NetworkLoop)
        said: list[str] = []
        settings = BitunixTestnetSettings(history_minutes=0, idle_minutes=idle_minutes)
        running = bitunix_testnet(settings, clock=VirtualClock(loop), monotonic_ns=loop.now_ns, serve=serving)
        async with asyncio.timeout(limit_s):
            await run_bitunix_testnet(running, said.append)
        return said

    (line,) = run_networked(play(2.0, 125), seed=1, start_ns=START_NS)
    assert json.loads(line)["venue"] == "bitunix"
    with pytest.raises(TimeoutError):
        run_networked(play(2.0, 119), seed=1, start_ns=START_NS)
    with pytest.raises(TimeoutError):
        run_networked(play(0.0, 600), seed=1, start_ns=START_NS)
