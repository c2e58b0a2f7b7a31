"""Calls to Bitunix over the wire: signatures, codes, limits, paging, the venue's clock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import web

from agora.domain.errors import Transient
from agora.domain.numbers import NS_PER_S
from agora.domain.orders import Side
from agora.venues.bitunix.caller import ClockSkew, VenueClock
from agora.venues.bitunix.client import BitunixClient, Credentials, PlaceRequest
from agora.venues.bitunix.settings import BitunixSettings
from agora.venues.bitunix.signing import query_text, sign_rest
from agora.venues.rest import AuthRefused, InDoubt, Network, NotSent, RateLimited, Refused
from tests.simulation.loop import VirtualClock
from tests.simulation.network import Connector, run_networked, serving
from tests.venues.virtual import after

START_NS = 1_800_000_000 * NS_PER_S
KEY = Credentials("test-key", "test-secret")
Answer = Callable[[web.Request, bytes], Any]


@dataclass
class Venue:
    """Answers every call by `answer`; notes what came and when. `ahead_s`: its clock."""

    answer: Answer
    ahead_s: float = 0.0
    seen: list[tuple[float, str, dict[str, str], bytes, dict[str, str]]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One call."""
        body = await request.read()
        now_s = asyncio.get_running_loop().time()
        self.seen.append((now_s, request.path, dict(request.query), body, dict(request.headers)))
        answer = self.answer(request, body)
        if isinstance(answer, web.StreamResponse):
            response = answer
        else:
            response = web.Response(body=json.dumps(answer), content_type="application/json")
        response.headers["Date"] = formatdate(START_NS // NS_PER_S + now_s + self.ahead_s, usegmt=True)
        return response


@asynccontextmanager
async def client_of(venue: Venue, **settings: Any) -> AsyncIterator[BitunixClient]:
    """A client of that venue."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", venue.handle)
    async with serving(app) as url:
        facts = BitunixSettings(rest_url=url, **settings)
        client = BitunixClient(Network(Connector), KEY, clock=VirtualClock(), seed=1, settings=facts)
        try:
            yield client
        finally:
            await client.close()


def good(data: Any) -> Answer:
    """Always the same data."""
    return lambda _, __: {"code": 0, "data": data, "msg": "Success"}


def code(number: int | str, message: str = "no") -> Answer:
    """Always that code, with status 200 as the venue does."""
    return lambda _, __: {"code": number, "data": None, "msg": message}


ORDER = PlaceRequest(symbol="BTCUSDT", side=Side.BUY, order_type="LIMIT", qty="1", price="2", client_id="c")
REDUCING = PlaceRequest(symbol="BTCUSDT", side=Side.SELL, order_type="MARKET", qty="1", client_id="d", reduce_only=True)


def run(work: Callable[[BitunixClient], Any], venue: Venue, **settings: Any) -> Any:
    """Do something with a client in virtual time."""

    async def main() -> Any:
        async with client_of(venue, **settings) as client:
            return await work(client)

    return run_networked(main(), seed=1, start_ns=START_NS)


def test_what_is_signed_is_what_is_sent() -> None:
    """Query and body byte for byte, the comma raw in the signature, empty parameters in neither."""
    venue = Venue(good({"orderId": "1", "clientId": "c"}))
    run(lambda client: client.place(ORDER), venue)
    venue.answer = good({"orderList": [], "total": 0})
    run(lambda client: client.pending_orders(), venue)
    for _, _, query, body, headers in venue.seen:
        sign = sign_rest(
            KEY,
            nonce=headers["nonce"],
            timestamp=headers["timestamp"],
            query=query_text(query),
            body=body.decode(),
        )
        assert sign == headers["sign"]
        assert "" not in query.values()
        assert len(headers["nonce"]) == 32
    assert b" " not in venue.seen[0][3]


def test_a_list_of_symbols_is_one_parameter() -> None:
    """As the venue wants it; the public calls carry no key."""
    venue = Venue(good([]))
    run(lambda client: client.tickers(["BTCUSDT", "ETHUSDT"]), venue)
    _, path, query, _, headers = venue.seen[0]
    assert (path, query) == ("/api/v1/futures/market/tickers", {"symbols": "BTCUSDT,ETHUSDT"})
    assert "api-key" not in headers


def test_nonces_of_two_clients_with_one_seed_differ() -> None:
    """A restarted run has the same seed, and must not repeat itself."""
    venue = Venue(good({"orderId": "1"}))

    async def twice() -> None:
        for _ in range(2):
            async with client_of(venue) as client:
                await client.place(ORDER)
                await client.place(ORDER)
            await after(1)

    run_networked(twice(), seed=1, start_ns=START_NS)
    assert len({headers["nonce"] for *_, headers in venue.seen}) == 4


@pytest.mark.parametrize(
    "answer, fault",
    [
        (code(20003), Refused),
        (code("30042"), Refused),
        (code(10007), AuthRefused),
        (code(403), AuthRefused),
        (code(10003), AuthRefused),
        (code(10004), AuthRefused),
        (code(10005), RateLimited),
        (code(10006), RateLimited),
        (code(1, "Network Error"), InDoubt),
        (code(10001), InDoubt),
        (lambda _, __: web.Response(status=502, text="<html>"), InDoubt),
        (lambda _, __: web.Response(body=b'{"code":0,"da'), InDoubt),
        (lambda _, __: web.Response(body=b""), InDoubt),
        (lambda _, __: web.Response(body=b"[" * 100_000), InDoubt),
        (lambda _, __: {"code": "x"}, InDoubt),
        (lambda _, __: {"data": {}}, InDoubt),
        (lambda _, __: web.Response(status=503, body=b'{"code":20003,"msg":"no"}'), InDoubt),
        (lambda _, __: web.Response(status=404, body=b'{"code":404,"msg":"Not Found"}'), Refused),
        (good(["x"]), InDoubt),
        (good(None), InDoubt),
        (good({"orderId": ""}), InDoubt),
        (good({"orderId": "", "clientId": "c"}), InDoubt),
        (lambda _, __: web.Response(status=404, body=b'{"code":0,"data":{"orderId":"1"}}'), InDoubt),
    ],
)
def test_trap_errors_come_with_status_200_and_the_code_decides(answer: Answer, fault: type[Exception]) -> None:
    """An order is refused, not sent, limited, or in doubt; it is asked for once."""
    venue = Venue(answer)
    with pytest.raises(fault) as raised:
        run(lambda client: client.place(ORDER), venue)
    assert type(raised.value) is fault
    assert len(venue.seen) == 1


def test_silence_is_doubt_after_its_time() -> None:
    """An order without an answer."""

    async def never(_: web.Request) -> web.StreamResponse:
        await after(10**6)
        return web.Response()

    async def main() -> float:
        app = web.Application()
        app.router.add_post("/{path:.*}", never)
        loop = asyncio.get_running_loop()
        async with serving(app) as url:
            settings = BitunixSettings(rest_url=url, request_s_max=2.0)
            client = BitunixClient(Network(Connector), KEY, clock=VirtualClock(), seed=1, settings=settings)
            with pytest.raises(InDoubt):
                await client.place(ORDER)
            await client.close()
            return loop.time()

    assert 2.0 <= run_networked(main(), seed=1, start_ns=START_NS) < 2.5


@pytest.mark.requirement("B33")
def test_trap_code_1_is_tried_again_on_reads() -> None:
    """The venue says so at cold start; a read changes nothing."""
    answers = [{"code": 1, "data": None, "msg": "Network Error"}] * 2 + [{"code": 0, "data": [], "msg": "Success"}]
    venue = Venue(lambda _, __: answers.pop(0))
    assert run(lambda client: client.trading_pairs(), venue) == []
    assert len(venue.seen) == 3


def test_odd_characters_in_a_parameter_arrive_as_they_are() -> None:
    """Signed raw, sent encoded."""
    venue = Venue(code(20007))
    run(lambda client: client.order_detail(client_id="a&b=c d%2C"), venue)
    _, _, query, _, headers = venue.seen[0]
    assert query == {"clientId": "a&b=c d%2C"}
    sign = sign_rest(KEY, nonce=headers["nonce"], timestamp=headers["timestamp"], query=query_text(query))
    assert sign == headers["sign"]


def test_trap_the_start_of_funding_history_is_misspelt() -> None:
    """The venue's word; the rows come newest first and are given oldest first."""
    rows = [{"fundingRate": "0.0001", "fundingTime": str(at), "markPrice": "1"} for at in (3, 2, 1)]
    venue = Venue(good(rows))
    found = run(lambda client: client.funding_history("BTCUSDT", start_ms=1), venue)
    assert [each.time_ms for each in found] == [1, 2, 3]
    assert venue.seen[0][2]["starTime"] == "1"


def test_after_a_normal_answer_nothing_waits_any_more() -> None:
    """One refusal does not slow a day down."""
    answers = [{"code": 10006, "msg": "x"}] + [{"code": 0, "data": [], "msg": ""}] * 4
    venue = Venue(lambda _, __: answers.pop(0))

    async def work(client: BitunixClient) -> None:
        for _ in range(4):
            await client.positions()

    run(work, venue)
    assert venue.seen[-1][0] < 2.0


def test_an_order_that_is_not_found_is_none_and_not_an_error() -> None:
    """Not yet final, says whoever asks."""
    assert run(lambda client: client.order_detail(client_id="x"), Venue(code(20007))) is None
    with pytest.raises(Refused):
        run(lambda client: client.order_detail(client_id="x"), Venue(code(10002)))


def test_a_cancel_that_is_not_taken_is_refused_with_its_reason() -> None:
    """The failure stands in a list, under code 0."""
    answer = good(
        {
            "successList": [],
            "failureList": [{"id": "1", "clientId": "c", "errorMsg": "try it later", "errorCode": "20007"}],
        }
    )
    with pytest.raises(Refused) as raised:
        run(lambda client: client.cancel("BTCUSDT", order_id="1"), Venue(answer))
    assert raised.value.code == 20007


def row(number: int) -> dict[str, Any]:
    """A trade's row."""
    return {
        "tradeId": str(number), "orderId": "1", "symbol": "BTCUSDT", "qty": "1", "price": "2", "side": "BUY",
        "fee": "0", "roleType": "MAKER", "ctime": number,
    }  # fmt: skip


def test_paged_reads_go_to_the_end_under_one_fixed_end() -> None:
    """A hundred rows a page; every page under the same end time."""

    def page(request: web.Request, _: bytes) -> Any:
        skip = int(request.query["skip"])
        rows = [row(number) for number in range(250)][skip : skip + int(request.query["limit"])]
        return {"code": 0, "data": {"tradeList": rows, "total": 250}, "msg": "Success"}

    venue = Venue(page)
    assert len(run(lambda client: client.trades(), venue)) == 250
    assert len({query["endTime"] for _, _, query, _, _ in venue.seen}) == 1
    assert [query["skip"] for _, _, query, _, _ in venue.seen] == ["0", "100", "200"]


def trades_of(numbers: list[int], total: int) -> Any:
    """An answer with those trades."""
    return {"code": 0, "data": {"tradeList": [row(n) for n in numbers], "total": total}, "msg": ""}


HUNDRED = list(range(100))


@pytest.mark.parametrize(
    "pages",
    [
        [trades_of(HUNDRED, 250), trades_of(list(range(100, 200)), 251)],
        [trades_of(HUNDRED, 250), trades_of(list(range(99, 199)), 250)],
        [trades_of(HUNDRED, 250), trades_of([100], 250)],
        [trades_of([1, 2], 3)],
    ],
    ids=["total", "twice", "short", "less"],
)
def test_a_list_that_moves_while_it_is_read_is_no_reading(pages: list[Any]) -> None:
    """Its total changed, a row came twice, or one is missing: it is read again, and given up when it never rests."""
    answers = [*pages, trades_of([1], 1)]
    venue = Venue(lambda _, __: answers.pop(0))
    assert [trade.trade_id for trade in run(lambda client: client.trades(), venue)] == ["1"]
    restless = Venue(lambda _, __: (answers.append(answers.pop(0)), answers[-1])[1])
    answers[:] = pages
    with pytest.raises(Transient):
        run(lambda client: client.trades(), restless)
    assert len(restless.seen) == 3 * len(pages)


def test_trap_history_leaves_cancelled_orders_out_unless_they_are_asked_for() -> None:
    """By a word of its own, which is lower case `true`."""
    venue = Venue(good({"orderList": [], "total": 0}))
    run(lambda client: client.history_orders("BTCUSDT"), venue)
    run(lambda client: client.history_orders("BTCUSDT", include_cancelled=False), venue)
    assert [query.get("queryCanceled") for _, _, query, _, _ in venue.seen] == ["true", None]


@pytest.mark.requirement("B13")
def test_calls_of_an_account_share_their_limit_and_cancels_pass_them() -> None:
    """Ten a second for reads, orders and cancels together; five for cancels by name; none is kept waiting by reads."""

    def answer(request: web.Request, _: bytes) -> Any:
        path = request.path
        data: Any = {"orderList": [], "total": 0} if "pending" in path else {"orderId": "1", "successList": []}
        return {"code": 0, "data": data, "msg": ""}

    venue = Venue(answer)

    async def busy(client: BitunixClient) -> None:
        reads = [asyncio.ensure_future(client.tpsl_pending()) for _ in range(30)]
        await after(0.5)
        orders = [asyncio.ensure_future(client.place(ORDER)) for _ in range(4)]
        await after(0.01)
        await client.cancel_all()
        await asyncio.gather(*orders, *reads)
        await asyncio.gather(*(client.cancel_several("BTCUSDT", [("1", "")]) for _ in range(12)))

    run(busy, venue, admission_s_max=10.0)
    slow = [at for at, path, *_ in venue.seen if path.endswith("cancel_orders")]
    usual = [at for at, path, *_ in venue.seen if not path.endswith("cancel_orders")]
    assert max(sum(start <= at < start + 1 for at in usual) for start in usual) <= 10
    assert max(sum(start <= at < start + 1 for at in slow) for start in slow) <= 5
    orders = [at for at, path, *_ in venue.seen if path.endswith("place_order")]
    assert sum(at < 0.6 for at in orders) == 2  # two tokens that the reads had left
    assert next(at for at, path, *_ in venue.seen if path.endswith("cancel_all_orders")) < 0.6


@pytest.mark.requirement("B13")
def test_what_tells_of_trades_goes_before_other_reads() -> None:
    """It finds the one token that reads which can wait have left, beside those of orders and cancels."""
    venue = Venue(good({"orderList": [], "tradeList": [], "total": 0}))

    async def busy(client: BitunixClient) -> None:
        reads = [asyncio.ensure_future(client.tpsl_pending()) for _ in range(30)]
        await after(0.5)
        await client.trades("BTCUSDT")
        await asyncio.gather(*reads)

    run(busy, venue)
    assert next(at for at, path, *_ in venue.seen if path.endswith("get_history_trades")) < 0.6


def test_what_is_not_wanted_any_more_when_its_turn_comes_is_not_sent() -> None:
    """An order that waited for its turn and was cancelled meanwhile."""
    venue = Venue(good({"orderId": "1"}))
    wanted = [True]

    async def busy(client: BitunixClient) -> None:
        orders = [asyncio.ensure_future(client.place(ORDER, is_wanted=lambda: wanted[0])) for _ in range(20)]
        await after(0.5)
        wanted.clear()
        wanted.append(False)
        results = await asyncio.gather(*orders, return_exceptions=True)
        assert sum(isinstance(result, NotSent) for result in results) == 20 - len(venue.seen)

    run(busy, venue, admission_s_max=10.0)
    assert 0 < len(venue.seen) <= 10


def test_an_order_that_finds_no_room_in_time_is_not_sent() -> None:
    """It would be stale by then; nothing of it leaves."""
    venue = Venue(good({"orderId": "1"}))

    async def many(client: BitunixClient) -> list[Any]:
        return await asyncio.gather(*(client.place(ORDER) for _ in range(40)), return_exceptions=True)

    results = run(many, venue, admission_s_max=2.0)
    assert sum(isinstance(result, NotSent) for result in results) == 40 - len(venue.seen) > 10
    assert max(at for at, *_ in venue.seen) <= 2.1


@pytest.mark.parametrize(
    "answer",
    [
        lambda _, __: web.Response(status=429, headers={"Retry-After": "4"}),
        lambda _, __: web.Response(body=b'{"code":10006,"msg":"x"}', headers={"Retry-After": "4"}),
    ],
    ids=["429", "10006"],
)
@pytest.mark.requirement("B13")
def test_a_retry_after_is_waited_for_by_everybody(answer: Answer) -> None:
    """One try in each of its windows, however many want to read."""
    venue = Venue(answer)

    async def many(client: BitunixClient) -> None:
        await asyncio.gather(*(client.positions() for _ in range(5)), return_exceptions=True)

    run(many, venue, read_s_max=30.0)
    later = [at for at, *_ in venue.seen if at > 0.5]
    assert len(later) >= 5
    assert min(second - first for first, second in pairwise([0.0, *later])) >= 4.0


def test_a_read_ends_in_its_time_even_when_the_venue_is_mute() -> None:
    """Tries, pauses and waits together."""

    async def never(_: web.Request) -> web.StreamResponse:
        await after(10**6)
        return web.Response()

    async def main() -> float:
        app = web.Application()
        app.router.add_get("/{path:.*}", never)
        async with serving(app) as url:
            settings = BitunixSettings(rest_url=url, read_s_max=7.0)
            client = BitunixClient(Network(Connector), KEY, clock=VirtualClock(), seed=1, settings=settings)
            with pytest.raises(InDoubt):
                await client.positions()
            await client.close()
            return asyncio.get_running_loop().time()

    assert 6.0 < run_networked(main(), seed=1, start_ns=START_NS) <= 7.01


def test_trap_klines_are_anchored_at_their_end() -> None:
    """Pages go backwards from the end; what forms, what repeats and what lies outside is left out."""
    minute_ms = 60_000
    now_ms = START_NS // 10**6

    def tail(request: web.Request, _: bytes) -> Any:
        end_ms, limit = int(request.query["endTime"]), int(request.query["limit"])
        last = (end_ms - 1) // minute_ms * minute_ms
        starts = [last - minute_ms * back for back in range(limit)]
        data = [
            {"open": "2", "high": "3", "low": "1", "close": "2", "time": str(at), "quoteVol": "1", "baseVol": "2"}
            for at in starts
        ]
        return {"code": 0, "data": data, "msg": "Success"}

    start_ns, end_ns = START_NS - 450 * 60 * NS_PER_S, START_NS + 60 * NS_PER_S

    async def half_a_minute_later(client: BitunixClient) -> Any:
        await after(30)
        return await client.klines("BTCUSDT", 60, start_ns=start_ns, end_ns=end_ns)

    found = run(half_a_minute_later, Venue(tail))
    starts = [kline.start_ms for kline in found]
    assert len(starts) == 450
    assert all(later - sooner == minute_ms for sooner, later in pairwise(starts))
    assert starts[0] == start_ns // 10**6
    assert starts[-1] + minute_ms <= now_ms


@pytest.mark.requirement("B13")
def test_cancels_pass_a_storm_that_holds_everything_else() -> None:
    """While the venue answers 10006: at most two requests a second, and cancels among them."""
    venue = Venue(code(10006))

    async def storm(client: BitunixClient) -> None:
        async def insist(call: Callable[[], Any]) -> None:
            for _ in range(1_000):
                try:
                    await call()
                except (RateLimited, NotSent):
                    await after(0.01)

        calls = [lambda: client.place(ORDER), lambda: client.cancel("BTCUSDT", order_id="1")]
        tasks = [asyncio.ensure_future(insist(call)) for call in calls]
        await after(30)
        for task in tasks:
            task.cancel()

    run(storm, venue)
    times = [at for at, *_ in venue.seen if at > 1]
    assert max(sum(start <= at < start + 1 for at in times) for start in times) <= 2
    assert sum(path.endswith("cancel_orders") for _, path, *_ in venue.seen) >= 20


def test_the_venues_clock_is_found_and_signed_with() -> None:
    """From headers of whole seconds; a small offset is used, a large one refuses what raises risk, and only that."""
    venue = Venue(good({"orderId": "1", "clientId": "c"}), ahead_s=0.7)

    async def work(client: BitunixClient) -> int:
        for _ in range(12):
            await client.place(REDUCING)
            await after(0.37)
        return client.clock_offset_ms

    offset_ms = run(work, venue)
    assert abs(offset_ms - 700) <= 400 or offset_ms == 0
    stamp_ms = int(venue.seen[-1][4]["timestamp"])
    assert abs(stamp_ms - (START_NS // 10**6 + venue.seen[-1][0] * 1_000)) <= 1_100

    async def set_clock(client: BitunixClient) -> None:
        await client.place(REDUCING)
        venue.ahead_s = 5.0
        await client.place(REDUCING)
        assert 4_000 <= client.clock_offset_ms <= 6_000
        await client.place(REDUCING)
        at_s, *_, headers = venue.seen[-1]
        assert abs(int(headers["timestamp"]) - (START_NS // 10**6 + 1_000 * (at_s + venue.ahead_s))) <= 600
        with pytest.raises(ClockSkew):
            await client.place(ORDER)
        await client.place(REDUCING)
        await client.cancel_all()
        venue.ahead_s = 0.0
        await client.place(REDUCING)
        await client.place(ORDER)

    venue.answer = lambda request, _: (
        {"code": 0, "data": {"successList": [], "failureList": []}, "msg": ""}
        if request.path.endswith("cancel_all_orders")
        else {"code": 0, "data": {"orderId": "1"}, "msg": ""}
    )
    run(set_clock, venue)


def test_clock_readings_narrow_the_offset_down() -> None:
    """Each says that the venue's second began and ended somewhere; together they say where it is."""
    clock = VenueClock()
    for sent_ms in range(0, 20_000, 1_330):
        date = formatdate((sent_ms + 10 + 5_300) // 1_000, usegmt=True)
        clock.note(date, sent_ms=sent_ms, received_ms=sent_ms + 20)
    assert abs(clock.offset_ms - 5_300) <= 150
    clock.note("no date", sent_ms=0, received_ms=1)
    assert abs(clock.offset_ms - 5_300) <= 150
