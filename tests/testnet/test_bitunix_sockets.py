"""The sockets of the loopback Bitunix: every rule of a connection, the streams and their cadences, the pushes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from agora.domain.numbers import NS_PER_MS, NS_PER_S
from agora.domain.orders import Side
from agora.testnet.bitunix_connection import MESSAGES_PER_S_MAX, WAITING_BYTES_MAX
from agora.testnet.bitunix_sockets import STREAMS_MAX
from agora.venues.bitunix.wire_frames import decode_frame
from tests.testnet.bitunix_bench import BTC, ETH, Bench, bench, check_books, in_virtual_time
from tests.testnet.bitunix_ears import Ear, ear, login, private_ear

# Rounding of timers, and the way there and back.
CLOSE_S = 0.01


def samples(folder: Path) -> dict[str, dict[str, Any]]:
    """The sample frames of the venue by their id."""
    lines = (folder / "bitunix" / "ws_frames.jsonl").read_text().splitlines()
    return {row["id"]: row["frame"] for row in map(json.loads, lines)}


def shape(value: Any) -> Any:
    """Keys and types of a value; of a list those of its first."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value else type(value).__name__


# The connection.


@pytest.mark.parametrize("kind", ["public", "private"])
def test_a_connection_is_greeted_first(kind: str, venue_samples: Path) -> None:
    """One frame on open, before anything is asked for; then nothing."""

    async def story(it: Bench) -> None:
        async with ear(it, kind) as heard:
            await it.rest(5)
            assert [frame for _, frame in heard.frames] == [samples(venue_samples)["connect"]]

    in_virtual_time(story)


def test_a_ping_is_answered_by_a_ping_that_tells_when_the_socket_opened() -> None:
    """The answer's op is `ping`; it echoes what was sent, within a tenth of a second."""

    async def story(it: Bench) -> None:
        opened_s = it.clock.now_ns() // NS_PER_S
        async with ear(it) as heard:
            await it.rest(7)
            await heard.say("ping", ping=1790126498)
            await it.rest(0.1)
            assert heard.said("ping") == [{"op": "ping", "pong": 1790126498, "ping": opened_s}]

    in_virtual_time(story)


@pytest.mark.parametrize("is_subscribed", [True, False])
def test_a_client_that_says_nothing_for_a_minute_is_cut_off(is_subscribed: bool) -> None:
    """Data that flow to it do not count, and there is no close frame."""

    async def story(it: Bench) -> None:
        async with ear(it) as heard:
            await it.rest(20)
            if is_subscribed:
                await heard.subscribe((BTC, "price"))
            silent_from_s = 20 if is_subscribed else 0
            await it.rest(silent_from_s + 59.9 - 20)
            assert heard.ended_s is None
            await it.rest(0.2)
            assert heard.ended_s == pytest.approx(silent_from_s + 60, abs=CLOSE_S)
            assert not heard.has_said_goodbye
        assert it.venue.sockets.clients("*") == []

    in_virtual_time(story)


def test_a_client_that_pings_every_twenty_seconds_stays() -> None:
    """For as long as it likes."""

    async def story(it: Bench) -> None:
        async with ear(it) as heard:
            for _ in range(15):
                await heard.say("ping", ping=1)
                await it.rest(20)
            assert heard.ended_s is None
            assert len(heard.said("ping")) == 15

    in_virtual_time(story)


def test_a_protocol_ping_as_the_first_word_kills_the_socket() -> None:
    """It gets no pong, and the end a second and a half later; after a JSON frame it is harmless and answered."""

    async def story(it: Bench) -> None:
        async with ear(it) as rude, ear(it) as polite:
            await polite.say("ping", ping=1)
            await it.rest(1)
            await rude.socket.ping(b"x")
            await polite.socket.ping(b"x")
            await it.rest(3)
            assert (rude.pongs, rude.has_said_goodbye) == (0, False)
            assert rude.ended_s == pytest.approx(2.5, abs=CLOSE_S)
            assert (polite.pongs, polite.ended_s) == (1, None)

    in_virtual_time(story)


@pytest.mark.requirement("B13")
def test_the_sixth_message_within_a_second_ends_the_connection() -> None:
    """Frames of any kind count, pings of both kinds among them; five a second are fine."""

    async def story(it: Bench) -> None:
        async with ear(it) as calm, ear(it) as hasty:
            for _ in range(4):
                for _ in range(MESSAGES_PER_S_MAX):
                    await calm.say("ping", ping=1)
                await it.rest(1.01)
            for _ in range(3):
                await hasty.say("ping", ping=1)
            await hasty.socket.ping()
            await hasty.socket.pong()
            await it.rest(0.5)
            assert (calm.ended_s, hasty.ended_s) == (None, None)
            await hasty.say("nonsense")
            await it.rest(0.1)
            assert hasty.ended_s is not None
            assert not hasty.has_said_goodbye

    in_virtual_time(story)


def test_the_301st_stream_is_refused_and_the_others_go_on(venue_samples: Path) -> None:
    """One refusal in the venue's words; one that was unsubscribed makes room."""

    async def story(it: Bench) -> None:
        async with ear(it) as heard:
            await heard.subscribe((BTC, "depth_book1"), *((f"X{number}USDT", "trade") for number in range(299)))
            await it.rest(1)
            await heard.subscribe((BTC, "depth_book1"), ("X7USDT", "trade"))
            await it.rest(1)
            assert heard.said("subscribe") == []
            await heard.subscribe((BTC, "depth_book1"), (ETH, "depth_book1"))
            await it.rest(1)
            assert heard.said("subscribe") == [samples(venue_samples)["subscribe_over_300"]]
            assert heard.of("depth_book1", ETH) == []
            before = len(heard.of("depth_book1", BTC))
            await heard.subscribe(("X7USDT", "trade"), op="unsubscribe")
            await heard.subscribe((ETH, "depth_book1"))
            await it.rest(1)
            assert len(heard.of("depth_book1", BTC)) > before
            assert heard.of("depth_book1", ETH)
            assert len(heard.said("subscribe")) == 1

    assert STREAMS_MAX == 300
    in_virtual_time(story)


def test_a_subscription_is_not_acknowledged_and_its_end_is() -> None:
    """Data begin within 600 ms; asked for twice it is one stream; after its end nothing more comes."""

    async def story(it: Bench) -> None:
        async with ear(it) as heard:
            await heard.subscribe((BTC, "price"), (BTC, "price"), (BTC, "depth_book5"))
            await heard.subscribe((BTC, "price"))
            await it.rest(0.6)
            assert heard.of("price")
            assert heard.of("depth_book5")
            await it.rest(9.4)
            assert len(heard.of("price")) == 20
            assert heard.said("subscribe") == []
            await heard.subscribe((BTC, "price"), op="unsubscribe")
            await it.rest(0.1)
            (answer,) = heard.said("unsubscribe")
            assert answer == {"op": "unsubscribe", "ts": answer["ts"], "data": "success"}
            assert it.clock.now_ns() // NS_PER_MS - 100 <= answer["ts"] <= it.clock.now_ns() // NS_PER_MS
            await it.rest(5)
            assert len(heard.of("price")) == 20
            assert heard.times("depth_book5")[-1] > 14

    in_virtual_time(story)


def test_an_unknown_symbol_gets_one_empty_window_and_no_error() -> None:
    """Fifteen levels of nothing, once; of channels other than depth nothing at all."""

    async def story(it: Bench) -> None:
        async with ear(it) as heard:
            await heard.subscribe(("NOPEUSDT", "depth_book15"), ("NOPEUSDT", "price"), ("NOPEUSDT", "tickers"))
            await it.rest(5)
            (frame,) = [frame for _, frame in heard.frames if "ch" in frame]
            assert (frame["ch"], frame["symbol"]) == ("depth_book15", "NOPEUSDT")
            assert frame["data"] == {"b": [["", ""]] * 15, "a": [["", ""]] * 15}
            assert heard.ended_s is None

    in_virtual_time(story)


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "{",
        "[1]",
        "7",
        "null",
        '{"op":7}',
        '{"op":"order"}',
        '{"op":"subscribe"}',
        '{"op":"subscribe","args":7}',
        '{"op":"subscribe","args":[7,{"symbol":7,"ch":[]}]}',
        '{"op":"subscribe","args":[{"symbol":"BTCUSDT","ch":"depth_book7"}]}',
        '{"op":"subscribe","args":[{"symbol":"BTCUSDT","ch":"market_kline_7min"}]}',
        '{"op":"subscribe","args":[{"symbol":"BTCUSDT","channel":"price"}]}',
        "[" * 100_000,
    ],
)
def test_what_is_not_understood_is_ignored(text: str) -> None:
    """No answer, and the socket stays open."""

    async def story(it: Bench) -> None:
        async with ear(it) as heard:
            await heard.socket.send_str(text)
            await heard.socket.send_bytes(text.encode())
            await it.rest(3)
            assert [frame["op"] for _, frame in heard.frames] == ["connect"]
            await heard.say("ping", ping=2)
            await it.rest(0.1)
            assert heard.said("ping")

    in_virtual_time(story)


def test_a_client_that_does_not_read_is_dropped() -> None:
    """What waits for it is bounded; others are served all the while."""

    async def story(it: Bench) -> None:
        everything = [(symbol, channel) for symbol in (BTC, ETH) for channel in ("depth_books", "depth_book15")]
        async with ear(it) as reader, it.session.ws_connect(it.venue.urls["public_ws"]) as sleeper:
            await reader.subscribe(*everything)
            rows = [{"symbol": symbol, "ch": channel} for symbol, channel in everything]
            await sleeper.send_str(json.dumps({"op": "subscribe", "args": rows}))
            most = 0
            for _ in range(500):
                await it.rest(0.1)
                most = max([most, *(client.waiting_bytes for client in it.venue.sockets.clients("*"))])
                if len(it.venue.sockets.clients("*")) == 1:
                    break
            assert len(it.venue.sockets.clients("*")) == 1
            assert 0 < most <= WAITING_BYTES_MAX
            assert reader.ended_s is None
            assert len(reader.of("depth_book15", ETH)) > 200

    in_virtual_time(story, depth_ms=20)


# Streams.

ALL_STREAMS = (
    "ticker", "tickers", "trade", "price", "depth_book1", "depth_book5", "depth_book15", "market_kline_1min",
    "mark_kline_1min",
)  # fmt: skip


@pytest.mark.requirement("B17")
def test_every_frame_has_the_shape_of_its_sample_and_our_own_decoder_reads_it(venue_samples: Path) -> None:
    """Keys, their order and types, of all public channels."""

    async def story(it: Bench) -> dict[str, Any]:
        async with ear(it) as heard:
            await heard.subscribe(*((BTC, channel) for channel in ALL_STREAMS))
            await it.rest(20)
        for _, text in heard.texts:
            decode_frame(text)
        return {channel: heard.of(channel)[-1] for channel in ALL_STREAMS}

    found = in_virtual_time(story, funding_interval_s=10)
    frames = samples(venue_samples)
    for channel, frame in found.items():
        sample = frames.get(channel) or frames[channel.replace("book5", "book1")]
        assert shape(frame) == shape(sample), channel
        assert list(frame) == list(sample), channel
    assert found["price"]["data"]["ft"] < found["price"]["data"]["nft"]
    assert found["trade"]["data"][0]["s"] in ("buy", "sell")


def test_frames_come_at_the_cadences_of_the_venue() -> None:
    """Depth about every 310 ms, prices and candles twice a second, tickers every 1.4 s, each for every symbol."""

    async def story(it: Bench) -> dict[tuple[str, str], int]:
        channels = ("depth_book15", "price", "ticker", "market_kline_5min")
        async with ear(it) as heard:
            await heard.subscribe(*((symbol, channel) for symbol in (BTC, ETH) for channel in channels))
            await it.rest(31)
            stamps = [frame["ts"] * NS_PER_MS - it.clock.now_ns() for frame in heard.of("price", BTC)]
            assert stamps == sorted(stamps)
            return {(symbol, channel): len(heard.of(channel, symbol)) for symbol in (BTC, ETH) for channel in channels}

    def near(counts: list[int], wanted: int) -> bool:
        return all(abs(count - wanted) <= 1 for count in counts)

    found = in_virtual_time(story)
    for channel, wanted in (("depth_book15", 100), ("price", 62), ("ticker", 22), ("market_kline_5min", 62)):
        assert near([found[symbol, channel] for symbol in (BTC, ETH)], wanted), (channel, found)
    other = in_virtual_time(story, depth_ms=1_000, price_ms=100, ticker_ms=3_100, kline_ms=31_000)
    for channel, wanted in (("depth_book15", 31), ("price", 310), ("ticker", 10), ("market_kline_5min", 1)):
        assert near([other[symbol, channel] for symbol in (BTC, ETH)], wanted), (channel, other)


def test_a_window_is_whole_best_first_and_what_rest_shows() -> None:
    """One, five or fifteen levels a side, or the whole book; bids fall, asks rise, and they do not cross."""

    async def story(it: Bench) -> None:
        async with ear(it) as heard:
            await heard.subscribe(*((BTC, f"depth_book{size}") for size in ("1", "5", "15", "s")))
            await it.rest(5)
        for size in (1, 5, 15, 20):
            for frame in heard.of("depth_books" if size == 20 else f"depth_book{size}"):
                bids, asks = ([float(price) for price, _ in frame["data"][side]] for side in "ba")
                assert len(bids) == len(asks) == size or size == 20 <= min(len(bids), len(asks))
                assert bids == sorted(bids, reverse=True)
                assert asks == sorted(asks)
                assert bids[0] < asks[0]
        assert len({json.dumps(frame["data"]) for frame in heard.of("depth_book15")}) > 5

    in_virtual_time(story)


def test_a_trade_of_ours_is_printed_for_all() -> None:
    """Price and size, side of the taker, time in whole seconds, and no id."""

    async def story(it: Bench) -> None:
        async with ear(it) as heard:
            await heard.subscribe((BTC, "trade"))
            await it.rest(1)
            await it.place(Side.SELL, "0.0123")
            await it.rest(0.1)
            (row,) = [row for frame in heard.of("trade") for row in frame["data"] if row["v"] == "0.0123"]
            assert row["s"] == "sell"
            assert set(row) == {"t", "p", "v", "s"}

    in_virtual_time(story, trades_per_s=0)


def test_a_faster_venue_stamps_its_frames_with_its_own_time() -> None:
    """Ten times as fast: ten times as many frames in a second, and as far apart by their stamps as ever."""

    async def story(it: Bench) -> None:
        async with ear(it) as heard:
            await heard.subscribe((BTC, "price"))
            await it.rest(6)
        stamps = [frame["ts"] for frame in heard.of("price")]
        assert abs(len(stamps) - 120) <= 2
        assert stamps[-1] - stamps[0] == pytest.approx(500 * (len(stamps) - 1), abs=20)

    in_virtual_time(story, speed=10)


# Pushes.


def test_a_login_is_answered_and_needs_the_right_signature(venue_samples: Path) -> None:
    """Of a known account, with its time as signed; on the private socket only."""

    async def answer(it: Bench, kind: str, text: str) -> Any:
        async with ear(it, kind) as heard:
            await heard.socket.send_str(text)
            await it.rest(0.1)
            return heard.said("login")

    async def story(it: Bench) -> None:
        frames = samples(venue_samples)
        right = login(it, it.account)
        assert await answer(it, "private", right) == [frames["login_ok"]]
        facts = json.loads(right)["args"][0]
        wrong: list[Any] = [
            [{**facts, "sign": "0" * 64}],
            [{**facts, "timestamp": facts["timestamp"] + 1}],
            [{**facts, "timestamp": str(facts["timestamp"])}],
            [{**facts, "apiKey": "nobody"}],
            [{**facts, "nonce": "1" * 32}],
            [],
            {},
            None,
        ]
        for args in wrong:
            text = json.dumps({"op": "login", "args": args})
            assert await answer(it, "private", text) == [frames["login_refused"]], args
        assert await answer(it, "public", right) == [frames["login_refused"]]

    in_virtual_time(story)


async def trade_with_triggers(it: Bench) -> None:
    """An order that rests, a position with a stop that fires, and its end."""
    await it.place(Side.BUY, "0.01", it.far(Side.BUY), client_id="rest")
    await it.client.cancel(BTC, client_id="rest")
    await it.place(Side.BUY, "0.02", client_id="in")
    position = (await it.client.positions(BTC))[0]
    stop = {"slPrice": it.far(Side.BUY, 0.01), "slStopType": "LAST_PRICE", "slQty": "0.02"}
    await it.signed("/tpsl/place_order", {"symbol": BTC, "positionId": position.position_id, **stop})
    it.venue.world.move(BTC, -0.02)
    await it.rest(3)
    assert await it.client.positions(BTC) == []


@pytest.mark.requirement("B17")
def test_pushes_begin_with_the_login_and_have_the_shape_of_their_samples(venue_samples: Path) -> None:
    """Orders, positions, money and triggers, of this account only, without a subscription."""

    async def story(it: Bench) -> None:
        other = it.venue.world.open_account("other", "secret")
        async with private_ear(it) as mine, private_ear(it, other) as theirs, ear(it, "private") as stranger:
            await trade_with_triggers(it)
        assert {len(each.frames) for each in (theirs, stranger)} == {2, 1}
        frames = samples(venue_samples)
        for channel, sample in (("order", "order_create"), ("position", "position_open"), ("balance", "balance")):
            for frame in mine.of(channel):
                assert shape(frame) == shape(frames[sample]), channel
        assert {tuple(shape(frame)) for frame in mine.of("tpsl")} == {tuple(frames["tpsl_create"])}
        assert {key for frame in mine.of("tpsl") for key in frame["data"]} == set(frames["tpsl_create"]["data"])
        for _, text in mine.texts:
            decode_frame(text)
        told = [(frame["data"]["event"], frame["data"]["orderStatus"]) for frame in mine.of("order")]
        assert told == [
            ("CREATE", "NEW"),
            ("CLOSE", "CANCELED"),
            ("CREATE", "NEW"),
            ("CLOSE", "FILLED"),
            ("CREATE", "NEW"),
            ("CLOSE", "FILLED"),
        ]
        assert [(frame["data"]["event"], frame["data"]["status"]) for frame in mine.of("tpsl")] == [
            ("CREATE", "NEW"),
            ("CLOSE", "FILLED"),
        ]
        assert [frame["data"]["event"] for frame in mine.of("position")] == ["OPEN", "CLOSE"]
        assert mine.of("balance")[-1]["data"]["margin"] == "0.00"
        stamps = [frame["ts"] for _, frame in mine.frames if "ch" in frame]
        assert stamps == sorted(stamps)

    in_virtual_time(story)


def test_asking_for_private_channels_is_harmless() -> None:
    """No answer, no second push, with or without a login."""

    async def story(it: Bench) -> None:
        rows = [{"ch": channel} for channel in ("balance", "position", "order", "tpsl")]
        async with private_ear(it) as mine, ear(it, "private") as stranger:
            for each in (mine, stranger):
                await each.say("subscribe", args=rows)
            await it.place(Side.BUY, "0.01", it.far(Side.BUY))
            await it.rest(1)
            assert len(mine.of("order")) == 1
            assert [frame["op"] for _, frame in stranger.frames] == ["connect"]

    in_virtual_time(story)


def test_every_socket_of_an_account_gets_its_pushes() -> None:
    """Two connections, both told; one that is gone is not missed."""

    async def story(it: Bench) -> None:
        async with private_ear(it) as first:
            async with private_ear(it) as second:
                await it.place(Side.BUY, "0.01", it.far(Side.BUY), client_id="a")
                await it.rest(1)
            await it.place(Side.BUY, "0.01", it.far(Side.BUY), client_id="b")
            await it.rest(1)
            assert [frame["data"]["clientId"] for frame in first.of("order")] == ["a", "b"]
            assert [frame["data"]["clientId"] for frame in second.of("order")] == ["a"]
            assert len(it.venue.sockets.clients("user")) == 1

    in_virtual_time(story)


@pytest.mark.requirement("B17")
def test_both_sockets_work_over_real_loopback_connections() -> None:
    """Depth comes, an order's fill is pushed, and the end of the venue is heard."""

    async def play() -> Ear:
        async with bench(is_real=True) as it:
            async with ear(it) as market, private_ear(it) as user:
                await market.subscribe((BTC, "depth_book15"), (BTC, "trade"))
                await market.until(lambda heard: heard.of("depth_book15"))
                await it.place(Side.BUY, "0.01", client_id="real")
                await user.until(lambda heard: heard.of("balance"))
                await market.until(lambda heard: heard.of("trade"))
                assert user.of("order")[-1]["data"]["orderStatus"] == "FILLED"
                for client in it.venue.sockets.clients("market"):
                    client.abort()
                await market.until(lambda heard: heard.ended_s)
            check_books(it.venue)
            return market

    market = asyncio.run(play())
    assert not market.has_said_goodbye
