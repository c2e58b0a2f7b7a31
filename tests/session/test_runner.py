"""The runner: record, then act; nothing leaves before it is on disk; a dead disk lets only the way out through."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from agora.domain.errors import JournalFault
from agora.domain.events import (
    Event,
    FeedEnded,
    Heartbeat,
    MarketCandle,
    MarketQuote,
    OperatorCommand,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderIntent,
    OrderRejected,
    OrderSent,
    Reconcile,
    RunEnded,
    RunStarted,
    Timer,
    kind_of,
)
from agora.domain.numbers import MONEY_SCALE, NS_PER_S
from agora.domain.orders import Order, Purpose, Side
from agora.engine.state import Phase
from agora.session.clock import ManualClock
from agora.session.runner import Runner, order_facts
from tests.engine.desks import PRICE, START_NS, SYMBOL, Play, limit, market


class Tape:
    """A journal and a venue on one tape: what was recorded, made durable and sent, in the order it happened.

    `fails_at` is the number of the commit that finds the disk dead, as do all later ones.
    """

    def __init__(self, events: Sequence[Event] = (), *, fails_at: int = 10**9) -> None:
        self.lines: list[str] = []
        self.facts: dict[str, dict[str, Any] | None] = {}
        self.waiting: list[str] = []
        self.is_full = False
        self.last_wall_ns = 7
        self.clock = ManualClock(START_NS)
        self.lots = 0
        self.late: list[Event] = []
        self._events = list(events)
        self._commits = 0
        self._is_asked = False
        self._fails_at = fails_at
        self._cash = 10_000 * MONEY_SCALE
        self._bought_ticks = PRICE

    # The journal.

    def append(self, event: Event, facts: dict[str, Any] | None = None) -> int:
        """Recorded; not yet on disk."""
        self.lines.append(f"record {kind_of(event)}")
        self.waiting.append(kind_of(event))
        if isinstance(event, OrderIntent | OrderFilled | OrderSent):
            self.facts[kind_of(event)] = facts
        return len(self.lines)

    async def commit(self) -> None:
        """On disk, or not."""
        self._commits += 1
        if self._commits >= self._fails_at:
            raise JournalFault("disk full")
        self.lines.append("durable")
        self.waiting.clear()

    async def close(self) -> None:
        """The last commit."""
        await self.commit()

    # The venue.

    async def receive(self, deadline_ns: int, *, floor_ns: int) -> Sequence[Event]:
        """The next scripted event, or the deadline."""
        if self._is_asked:
            self._is_asked = False
            return (msgspec.structs.replace(await self.account(), ts_ns=max(self.clock.now_ns(), floor_ns)),)
        if not self._events:
            self.clock.advance(min(deadline_ns, START_NS + 10_000 * NS_PER_S))
            return ()
        event = self._events.pop(0)
        self.clock.advance(event.ts_ns)
        return (event,)

    def send(self, order: Order, ts_ns: int) -> None:
        """An order has left; market orders fill at once."""
        not_durable = [kind for kind in self.waiting if kind != "order.sent"]
        self.lines.append(f"send {order.purpose}" + (f" before {not_durable}" if not_durable else ""))
        if order.type == "market":
            self.lots += order.side * order.size_lots
            self._events.insert(
                0,
                OrderFilled(
                    ts_ns=ts_ns + 1,
                    client_id=order.client_id,
                    venue_id="v",
                    venue_fill_id=f"{order.client_id}.1",
                    instrument=SYMBOL,
                    side=Side(order.side).word,
                    purpose=str(order.purpose),
                    fill_price_ticks=PRICE,
                    fill_size_lots=order.size_lots,
                    fee_units=0,
                    liquidity="taker",
                ),
            )

    def change(self, client_id: str, ts_ns: int, amend: tuple[int, int] | None) -> None:
        """A cancel has left and is answered."""
        del amend
        self.lines.append(f"cancel {client_id}")
        self._events.insert(0, OrderCancelled(ts_ns=ts_ns + 1, client_id=client_id, reason="requested"))

    async def missed(self) -> Sequence[Event]:
        """Answers that were never handed over."""
        late, self.late = self.late, []
        return late

    async def open(self) -> None:
        """Open from the start."""

    def confirm(self, ts_ns: int) -> None:
        """The account is told next."""
        del ts_ns
        self.lines.append("ask account")
        self._is_asked = True

    async def account(self) -> Reconcile:
        """What is held."""
        return Reconcile(ts_ns=0, positions={SYMBOL: self.lots}, open_client_ids=(), cash_units=self._cash)


class Quiet:
    """Nobody speaks, but for scripted commands; keeps no checkpoints."""

    def __init__(self, *commands: str) -> None:
        self._commands = list(commands)

    def poll(self, now_ns: int) -> OperatorCommand | None:
        """The next command."""
        if not self._commands:
            return None
        return OperatorCommand(ts_ns=now_ns, command=self._commands.pop(0), reason="scripted")

    def pulse(self, now_ns: int, *, queue_depth: int) -> Heartbeat | None:
        """No heart."""
        del now_ns, queue_depth
        return None

    async def keep_if_due(self, runner: object) -> None:
        """Keep nothing."""


def candle(number: int, close: int = PRICE) -> MarketCandle:
    """The n-th minute."""
    shape = {"open_ticks": close, "high_ticks": close, "low_ticks": close, "close_ticks": close, "volume_lots": 9}
    return MarketCandle(ts_ns=START_NS + number * 60 * NS_PER_S, instrument=SYMBOL, interval_s=60, **shape)


def end_of_data(minutes: int) -> FeedEnded:
    """The recording is over."""
    return FeedEnded(ts_ns=START_NS + minutes * 60 * NS_PER_S)


def run(tape: Tape, play: Play, controls: Quiet | None = None) -> RunEnded:
    """The run to its end; returns its last decision."""

    async def story() -> None:
        quiet = controls or Quiet()
        await Runner(play.desk, tape, journal=tape, clock=tape.clock).run(quiet, quiet, poll_ns=NS_PER_S)

    asyncio.run(story())
    assert play.state.ended is not None
    status, reason, code, flat, residual = play.state.ended
    return RunEnded(ts_ns=0, status=status, reason=reason, exit_code=code, flat=flat, residual=residual)


@pytest.mark.requirement("B19")
def test_every_order_is_on_disk_before_it_leaves() -> None:
    """The event is recorded, then the decision and the intents; then the disk; only then the venue hears of them."""
    play = Play()
    play.trader.script.append(market(stop_ticks=PRICE - 100))
    tape = Tape([candle(1), end_of_data(2)])
    ended = run(tape, play)
    start = tape.lines.index("record market.candle")
    assert tape.lines[start : start + 9] == [
        "record market.candle",
        "record decision",
        "record order.intent",
        "record order.intent",
        "durable",
        "record order.sent",
        "send entry",
        "record order.sent",
        "send stop",
    ]
    assert not [line for line in tape.lines if " before " in line]
    assert (ended.exit_code, ended.flat) == (0, True)


@pytest.mark.requirement("B19")
def test_cancels_and_the_final_question_wait_for_the_disk_too() -> None:
    """Each cancel's record is durable before it leaves, and everything is before the venue is asked what we hold."""
    play = Play()
    play.trader.script += [limit(price=PRICE - 100), None]
    tape = Tape([candle(1), candle(2)])
    run(tape, play, Quiet())
    cancels = [number for number, line in enumerate(tape.lines) if line.startswith("cancel")]
    for number in [*cancels, tape.lines.index("ask account")]:
        before = tape.lines[:number]
        last_record = max(index for index, line in enumerate(before) if line.startswith("record"))
        assert "durable" in before[last_record:], before[-5:]
    assert len(cancels) == 1


def test_order_records_carry_what_a_reader_needs() -> None:
    """Side, type, price and size as text, purpose and trader; a fill with its own price, size and fee."""
    play = Play()
    play.trader.script.append(market())
    tape = Tape([candle(1), end_of_data(2)])
    run(tape, play)
    fill = tape.facts["order.filled"]
    assert fill is not None
    assert (fill["price"], fill["size"], fill["fee"]) == ("60000.0", "0.010", "0.00")
    sent = tape.facts["order.sent"]
    assert sent is not None
    assert (sent["side"], sent["type"], sent["purpose"], sent["trader"]) == ("sell", "market", "flatten", "scripted")
    assert sent["reduce_only"] is True
    assert order_facts(play.desk, Timer(ts_ns=1)) is None


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_a_dead_disk_lets_only_the_way_out_leave(fails_at: int) -> None:
    """From the first failed write on no entry leaves; a position is flattened all the same; the run ends as `disk`."""
    play = Play()
    play.trader.script += [market(), limit(price=PRICE - 100), market()]
    tape = Tape([candle(1), candle(2), candle(3), candle(4)], fails_at=fails_at)
    ended = run(tape, play)
    sends = [line.split()[1] for line in tape.lines if line.startswith("send")]
    assert sends.count("entry") == min(fails_at - 1, 2)
    assert sends.count("flatten") == (1 if fails_at > 1 else 0)
    assert tape.lots == 0
    assert (ended.reason, ended.status, ended.exit_code, ended.flat) == ("disk", "failed", 7, True)
    assert play.state.phase is Phase.ENDED


def test_an_order_whose_record_was_lost_is_rejected_and_said() -> None:
    """It does not stay planned for ever: its rejection says that it never left."""
    play = Play()
    play.trader.script.append(market(stop_ticks=PRICE - 100))
    tape = Tape([candle(1)], fails_at=1)
    run(tape, play)
    assert {order.status for order in play.state.closed} == {"rejected"}
    assert tape.lines.count("record order.rejected") == 2
    assert not [line for line in tape.lines if line.startswith("send")]


def test_commands_are_taken_before_the_next_event() -> None:
    """A stop that is there before the market is heard first."""
    play = Play()
    tape = Tape([candle(1), candle(2)])
    ended = run(tape, play, Quiet("stop"))
    assert tape.lines[0] == "record operator.command"
    assert ended.reason.startswith("stop")


def test_a_deadline_without_an_event_becomes_a_timer() -> None:
    """Time itself is recorded: a replay meets the same watchdog at the same time."""
    play = Play(duration_s=90)
    tape = Tape([candle(1)])
    ended = run(tape, play)
    assert "record timer" in tape.lines
    assert (ended.reason, ended.exit_code) == ("duration", 0)
    assert play.state.now_ns == START_NS + 90 * NS_PER_S


def test_while_a_crashed_run_is_taken_up_no_new_order_leaves() -> None:
    """Planned orders stay planned; cancels leave, as they only make us smaller."""
    play = Play()
    play.trader.script.append(market())
    tape = Tape()

    async def story() -> None:
        runner = Runner(play.desk, tape, journal=tape, clock=tape.clock)
        runner.is_taking_up = True
        await runner.take(candle(1))
        await runner.take(OperatorCommand(ts_ns=candle(1).ts_ns, command="stop", reason=""))

    asyncio.run(story())
    assert not [line for line in tape.lines if line.startswith("send")]
    assert [line for line in tape.lines if line.startswith("cancel")] == ["cancel t-0000001"]


def test_what_the_venue_said_at_one_moment_is_one_moment() -> None:
    """Events that came together are all recorded and applied before anything leaves because of them."""
    play = Play()
    order = play.place(limit())
    tape = Tape()
    play.trader.script.append(market())
    fill = OrderFilled(
        ts_ns=candle(3).ts_ns,
        client_id=order.client_id,
        venue_id="v",
        venue_fill_id="1",
        instrument=SYMBOL,
        side="buy",
        purpose=Purpose.ENTRY,
        fill_price_ticks=PRICE,
        fill_size_lots=10,
        fee_units=0,
        liquidity="maker",
    )

    async def story() -> None:
        runner = Runner(play.desk, tape, journal=tape, clock=tape.clock)
        await runner.take(fill, candle(3), OrderAccepted(ts_ns=fill.ts_ns, client_id=order.client_id, venue_id="v"))

    asyncio.run(story())
    leaves = next(number for number, line in enumerate(tape.lines) if line.startswith("send"))
    assert {"record order.filled", "record market.candle", "record order.accepted"} <= set(tape.lines[:leaves])


def test_what_the_venue_had_answered_is_taken_before_accounts_are_compared() -> None:
    """A fill that was never handed over explains the position: taken first, stamped with now, it is no desync."""
    play = Play()
    order = play.place(limit())
    tape = Tape()
    tape.lots = 10
    late = OrderFilled(
        ts_ns=1,
        client_id=order.client_id,
        venue_id="v",
        venue_fill_id="late",
        instrument=SYMBOL,
        side="buy",
        purpose=Purpose.ENTRY,
        fill_price_ticks=PRICE,
        fill_size_lots=10,
        fee_units=0,
        liquidity="maker",
    )
    tape.late = [late]

    async def story() -> None:
        runner = Runner(play.desk, tape, journal=tape, clock=tape.clock)
        await runner.take(await runner.account())

    asyncio.run(story())
    assert play.state.phase is Phase.RUNNING
    assert play.state.holdings[SYMBOL].position.size_lots == 10
    assert tape.lines.index("record order.filled") < tape.lines.index("record reconcile")


def test_a_journal_that_fills_up_is_emptied_before_the_next_event() -> None:
    """A busy market alone makes commits due, though nothing leaves."""
    play = Play()
    quotes = [
        MarketQuote(ts_ns=START_NS + n, instrument=SYMBOL, bid_ticks=1, bid_lots=1, ask_ticks=2, ask_lots=1)
        for n in range(1, 4)
    ]
    tape = Tape(quotes)
    tape.is_full = True
    run(tape, play)
    assert tape.lines[:6] == ["record market.quote", "durable"] * 3


def test_observers_see_every_step_and_change_nothing() -> None:
    """What went in and what came out, with the wall times that the records carry."""
    play = Play()
    play.trader.script.append(market())
    tape = Tape()
    seen: list[tuple[str, int, int | None, int]] = []

    class Onlooker:
        """Writes down what it sees."""

        def after_step(
            self, desk: object, event: Event, *, wall_ns: int, done_wall_ns: int | None, effects: list[Any]
        ) -> None:
            """One step."""
            assert desk is play.desk
            seen.append((kind_of(event), wall_ns, done_wall_ns, len(effects)))

    async def story() -> None:
        runner = Runner(play.desk, tape, journal=tape, clock=tape.clock)
        runner.observers.append(Onlooker())
        await runner.take(candle(1))
        await runner.take(OrderRejected(ts_ns=candle(1).ts_ns, client_id="t-0000001", reason="r"))

    asyncio.run(story())
    assert seen == [("market.candle", 7, 7, 3), ("order.sent", 7, None, 0), ("order.rejected", 7, None, 0)]


def test_a_new_run_is_recorded_before_it_is_anything() -> None:
    """`run.started` is the first line of the tape and sets the money."""
    play = Play()
    tape = Tape()
    started = RunStarted(
        ts_ns=START_NS,
        run_id="r",
        version="0",
        config_hash="",
        seed=1,
        venue="t",
        mode="paper",
        duration_ns=0,
        interval_s=60,
        instruments=(),
        equity_units=5,
    )
    asyncio.run(Runner(play.desk, tape, journal=tape, clock=tape.clock).take(started))
    assert tape.lines == ["record run.started"]
