"""The socket: a snapshot first, then a steady cadence for those who read, and an end for those who do not."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from pathlib import Path

import pytest

from agora.domain.numbers import NS_PER_MS, NS_PER_S
from agora.server import stream as streaming
from agora.server.stream import BACKLOG_BYTES_MAX, HEARD_PER_LOOK_MAX, TRADES_PER_MESSAGE_MAX
from agora.session.clock import monotonic_ns
from tests.server.markets import Served, served
from tests.server.sockets import listening, never_reading, next_of, until
from tests.server.test_app import conducted

FAST_NS = 20 * NS_PER_MS


@pytest.mark.requirement("F4")
def test_a_client_gets_a_snapshot_then_tickers(tmp_path: Path) -> None:
    """The snapshot is the state's body; tickers carry the prices of the tick they name."""

    async def script(server: Served) -> None:
        server.market.advance(5)
        async with listening(server) as client:
            first = await client.receive_json()
            assert (first["type"], first["tick"], first["data"]) == ("snapshot", 5, server.market.state())
            for tick in (6, 9):
                server.market.tick = tick
                while (ticker := await next_of(client, "ticker"))["tick"] != tick:
                    assert ticker["tick"] < tick
                assert ticker["data"] == {"ACME": 100.0 + tick, "BOLT": 100.0 + tick}

    conducted(tmp_path, script, ticker_every_ns=FAST_NS)


def test_a_snapshot_is_never_older_than_its_tick_or_a_beat(tmp_path: Path) -> None:
    """Clients that come together share one; after a tick, or a change within one, there is a new one."""

    async def script(server: Served) -> None:
        seen = []
        for change in (lambda: None, server.market.advance, lambda: setattr(server.market, "status", "paused")):
            change()
            async with listening(server) as client:
                snapshot = await client.receive_json()
                seen.append((snapshot["tick"], snapshot["data"]["tick"], snapshot["data"]["status"]))
                await next_of(client, "ticker")
        assert seen == [(0, 0, "running"), (1, 1, "running"), (1, 1, "paused")]

    conducted(tmp_path, script, ticker_every_ns=streaming.BEAT_NS)


def test_trades_news_and_status_are_passed_on(tmp_path: Path) -> None:
    """Trades between two beats come as one message, the newest when there are too many; news and status as they are."""

    async def script(server: Served) -> None:
        async with listening(server) as client:
            await until(server, clients=1)
            server.stream.add_trades([{"id": 1}, {"id": 2}])
            server.stream.add_trades([{"id": 3}])
            message = await next_of(client, "trade")
            assert (message["data"], message["skipped"]) == ([{"id": 1}, {"id": 2}, {"id": 3}], 0)
            server.stream.add_trades({"id": number} for number in range(TRADES_PER_MESSAGE_MAX + 7))
            message = await next_of(client, "trade")
            assert (len(message["data"]), message["data"][0], message["skipped"]) == (500, {"id": 7}, 7)
            server.stream.add_news({"text": "<b>"})
            assert (await next_of(client, "news"))["data"] == {"text": "<b>"}
            server.market.status = "paused"
            assert (await next_of(client, "status"))["data"] == {"status": "paused"}

    conducted(tmp_path, script)


@pytest.mark.requirement("F4")
@pytest.mark.requirement("F6")
def test_the_cadence_is_steady_beside_clients_that_do_not_read(tmp_path: Path) -> None:
    """60 idle and 20 never-reading clients: the gap between tickers keeps below twice its size."""
    every_ns = 50 * NS_PER_MS

    async def script(server: Served) -> None:
        async with contextlib.AsyncExitStack() as clients:
            deaf = [await never_reading(server.address.port) for _ in range(20)]
            for client in deaf:
                clients.callback(client.close)
            for _ in range(60):
                await clients.enter_async_context(listening(server))
            reader = await clients.enter_async_context(listening(server))
            await until(server, clients=81)
            for number in range(6):  # fill what the kernel holds for the deaf ones
                server.stream.add_news({"text": "x" * 60_000, "number": number})
                await next_of(reader, "news")
            times_ns = []
            for _ in range(41):
                await next_of(reader, "ticker")
                times_ns.append(monotonic_ns())
        gaps = sorted(late - early for early, late in itertools.pairwise(times_ns))
        assert sum(gaps) / len(gaps) == pytest.approx(every_ns, rel=0.1)
        assert gaps[int(len(gaps) * 0.95)] < 2 * every_ns, [gap / NS_PER_MS for gap in gaps]

    conducted(tmp_path, script, ticker_every_ns=every_ns)


@pytest.mark.requirement("F4")
def test_a_client_whose_backlog_is_full_is_dropped_at_once_and_alone(tmp_path: Path) -> None:
    """Half a megabyte waits for nobody; the reader beside it misses nothing."""

    async def script(server: Served) -> None:
        deaf = await never_reading(server.address.port)
        async with listening(server) as reader:
            await until(server, clients=2)
            own = deaf.getsockname()
            (client,) = [one for one in server.stream._clients if one.transport.get_extra_info("peername") == own]
            largest, number = 0, 0
            while server.stream.clients == 2:
                number += 1
                server.stream.add_news({"number": number, "text": "x" * 20_000})
                largest = max(largest, client.transport.get_write_buffer_size())
                assert (await next_of(reader, "news"))["data"]["number"] == number
            assert largest <= BACKLOG_BYTES_MAX + 21_000 < 1_000_000
            assert server.stream.dropped == 1
            await server.get("/health")
            assert client.transport.is_closing()
        deaf.close()

    conducted(tmp_path, script)


@pytest.mark.requirement("F4")
def test_a_client_that_answers_no_ping_is_gone_within_ten_seconds(tmp_path: Path) -> None:
    """However little there is to send: who does not read does not answer, and a reader stays."""

    async def script(server: Served) -> None:
        deaf = await never_reading(server.address.port)
        async with listening(server) as reader:
            await until(server, clients=2)
            start_ns = monotonic_ns()
            async with asyncio.timeout(15):
                while server.stream.clients == 2:
                    await next_of(reader, "ticker")
            assert monotonic_ns() - start_ns < 10 * NS_PER_S
            await next_of(reader, "ticker")
            assert server.stream.clients == 1
        deaf.close()

    conducted(tmp_path, script)


def test_a_stuck_client_is_dropped_by_the_clock(tmp_path: Path) -> None:
    """Something waits at every look for the whole of the limit: dropped; whoever read it off in between stays."""
    clock = [0]

    async def main() -> None:
        async with served(tmp_path, monotonic_ns=lambda: clock[0]) as server:
            deaf = await never_reading(server.address.port)
            await until(server, clients=1)
            (client,) = server.stream._clients
            while client.transport.get_write_buffer_size() == 0:
                server.stream.add_news({"text": "x" * 50_000})
            server.stream._look(0)
            server.stream._look(streaming.STUCK_NS - 1)
            assert server.stream.clients == 1
            server.stream._look(streaming.STUCK_NS)
            assert (server.stream.clients, server.stream.dropped) == (0, 1)
            deaf.close()

    asyncio.run(main())


def test_a_client_that_talks_too_much_is_shown_out(tmp_path: Path) -> None:
    """A few words are let pass; a flood ends with code 1008, and nothing of it reaches the market."""

    async def script(server: Served) -> None:
        async with listening(server) as client:
            for _ in range(3):
                await client.send_str('{"command":"stop"}')
            await next_of(client, "ticker")
            for _ in range(2 * HEARD_PER_LOOK_MAX):
                await client.send_str("ping")
            async with asyncio.timeout(5):
                while not client.closed:
                    await client.receive()
            assert client.close_code == streaming.CLOSE_TOO_MUCH
        assert (server.market.told, server.stream.clients) == ([], 0)

    conducted(tmp_path, script)


def test_no_more_clients_than_there_is_room_for(tmp_path: Path) -> None:
    """The one above the limit gets a problem object instead of a socket; when one leaves there is room again."""

    async def script(server: Served) -> None:
        server.stream._clients.update(object() for _ in range(streaming.CLIENTS_MAX))  # type: ignore[misc]
        async with server.client.get(
            server.url + "/ws",
            headers={
                "Upgrade": "websocket",
                "Connection": "Upgrade",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "c2l4dGVlbiBieXRlcyBvaw==",
            },
        ) as answer:
            assert answer.status == 503
        server.stream._clients.clear()
        async with listening(server) as client:
            assert (await client.receive_json())["type"] == "snapshot"

    conducted(tmp_path, script)
