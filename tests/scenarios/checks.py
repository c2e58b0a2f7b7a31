"""What must hold after any story. Each check returns its violations as sentences, in its own name.

They read the journal, the venue's own books and the notes of the clerk at the venue; money and positions are
computed here once more, plainly, from the records alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction

import msgspec

from agora import assembly
from agora.domain.errors import ExitCode, JournalFault
from agora.domain.events import (
    BreakerReset,
    BreakerTripped,
    Event,
    Funding,
    MarketFundingRate,
    MarketQuote,
    OrderFilled,
    OrderIntent,
    RunResumed,
    RunStarted,
)
from agora.domain.instruments import Instrument
from agora.engine.state import state_hash
from agora.journal.records import DURABLE_KINDS, check_line
from agora.journal.replay import replay, subject_of
from agora.journal.verify import verify_chain
from tests.scenarios.harness import Story, dressed

Violations = list[str]


def every_life_goes_its_way(story: Story) -> Violations:
    """No start and no life ended by an exception that nobody caught."""
    return story.broken


def no_order_twice(story: Story) -> Violations:
    """The venue received no client id that it had received before, in all lives together."""
    return [f"{order.client_id} was received again in life {order.life}" for order in story.received if order.is_repeat]


def durable_before_effect(story: Story) -> Violations:
    """Every order was on disk when the venue received it; on a dead disk only a flattening order leaves."""
    return [
        f"{order.client_id} ({order.purpose}) left before its record was durable"
        for order in story.received
        if not order.was_durable and not (story.disk_failed and order.purpose == "flatten")
    ]


def nothing_durable_lost(story: Story) -> Violations:
    """What was durable before a crash is in the journal after it, the same bytes in the same order."""
    final = story.disk.read("events.jsonl")
    found = []
    for number, remains in enumerate(story.remains, start=1):
        durable = remains["events.jsonl"]
        whole = durable[: durable.rfind(b"\n") + 1]
        if final.startswith(whole):
            continue
        kept = set(final.splitlines())
        lost = [line for line in whole.splitlines() if line not in kept and _is_durable_kind(line)]
        found += [f"crash {number} lost {line[:160]!r}" for line in lost]
    return found


def _is_durable_kind(line: bytes) -> bool:
    header = check_line(line)
    return not isinstance(header, str) and header.kind in DURABLE_KINDS


def chain_verifies(story: Story) -> Violations:
    """The hash chain of the finished journal holds to its last byte."""
    if story.disk_failed:
        return []  # a dead disk keeps what it has; the exit code says so
    fault = verify_chain(story.disk).fault  # type: ignore[arg-type]
    return [] if fault is None else [fault]


def replay_is_identical(story: Story) -> Violations:
    """A fresh desk makes every recorded decision again, in the same state."""
    records = story.records()
    first = records[0].event
    assert isinstance(first, RunStarted)
    desk = dressed(story.setup, assembly.rebuild(story.config, first)).desk
    found = replay(subject_of(desk), records)
    if found.divergence is not None:
        d = found.divergence
        return [f"record {d.seq}: the replay gives {d.expected}, the journal has {d.found}"]
    if story.disk_failed:
        return []
    if found.pending:
        return [f"the journal ends before {len(found.pending)} decisions"]
    if story.desk is not None and state_hash(desk.snapshot()) != state_hash(story.desk.snapshot()):
        return ["the replayed state is not the state of the run"]
    return []


def ends_flat(story: Story) -> Violations:
    """The run has ended and the venue holds nothing of ours."""
    ended = story.ended()
    if ended is None and not story.disk_failed:
        return ["there is no run.ended"]
    found = [] if ended is None or ended.flat else [f"not flat: {ended.residual} ({ended.reason})"]
    account = story.account
    if account is not None:
        found += [f"the venue has {lots} lots of {name}" for name, lots in account.positions.items() if lots]
        found += [f"the venue has the order {client_id}" for client_id in account.open_client_ids]
    return found


def no_bug_no_desync(story: Story) -> Violations:
    """Neither an exception of ours nor a difference with the venue ended the run."""
    ended = story.ended()
    if ended is None or (ended.exit_code not in (ExitCode.BUG, ExitCode.NOT_FLAT) and ended.reason != "desync"):
        return []
    return [f"ended by {ended.reason}, exit {ended.exit_code}: {ended.residual}"]


def our_books_are_the_venues(story: Story) -> Violations:
    """Position and cash of the run are those of the venue, to the last unit."""
    if story.desk is None or story.account is None:
        return []
    state = story.desk.state
    found = [
        f"{name}: we hold {state.holdings[name].position.size_lots}, the venue has {lots}"
        for name, lots in story.account.positions.items()
        if state.holdings[name].position.size_lots != lots
    ]
    if state.ledger.cash != story.account.cash_units:
        found.append(f"cash: we have {state.ledger.cash}, the venue {story.account.cash_units}")
    return found


def our_books_are_the_journals(story: Story) -> Violations:
    """Position and cash follow from the recorded fills, each counted once, by plain arithmetic."""
    if story.desk is None or story.disk_failed:
        return []
    events = [record.event for record in story.records()]
    fills = unique_fills(events)
    started = events[0]
    assert isinstance(started, RunStarted)
    state = story.desk.state
    found = []
    value = Fraction(0)
    for name, instrument in instruments_of(started).items():
        mine = [fill for fill in fills if fill.instrument == name]
        lots = sum(signed(fill) for fill in mine)
        if state.holdings[name].position.size_lots != lots:
            found.append(f"{name}: the fills give {lots} lots, we hold {state.holdings[name].position.size_lots}")
        value -= sum(signed(fill) * fill.fill_price_ticks * unit_of(instrument) for fill in mine)
    fees = sum(fill.fee_units for fill in fills)
    funding = sum(event.amount_units for event in unique_funding(events))
    if state.is_flat and state.ledger.cash != started.equity_units + value - fees + funding:
        cash = started.equity_units + value - fees + funding
        found.append(f"cash: the fills give {cash}, we have {state.ledger.cash}")
    return found


def funding_is_right(story: Story) -> Violations:
    """Every settlement pays what rate, position and mark say; longs pay a positive rate."""
    records = story.records()
    started = records[0].event
    assert isinstance(started, RunStarted)
    instruments = instruments_of(started)
    if story.setup.survives:
        return _paid_wrongly([record.event for record in records], instruments)
    lots: Counter[str] = Counter()
    seen: set[str] = set()
    mid: dict[str, int] = {}
    booked: dict[tuple[str, int], int] = {}
    found = []
    for event in (record.event for record in records):
        if isinstance(event, OrderFilled) and event.venue_fill_id not in seen:
            seen.add(event.venue_fill_id)
            lots[event.instrument] += signed(event)
        elif isinstance(event, MarketQuote):
            mid[event.instrument] = (event.bid_ticks + event.ask_ticks) // 2
        elif isinstance(event, Funding) and event.venue_funding_id not in seen:
            seen.add(event.venue_funding_id)
            booked[event.instrument, event.ts_ns] = event.amount_units
        elif isinstance(event, MarketFundingRate):
            notional = lots[event.instrument] * mid.get(event.instrument, 0) * unit_of(instruments[event.instrument])
            due = Fraction(-notional * event.rate_ppb, 1_000_000_000).__floor__()
            paid = booked.get((event.instrument, event.ts_ns), 0)
            if due != paid:
                found.append(f"funding at {event.ts_ns} on {lots[event.instrument]} lots: due {due}, booked {paid}")
    return found


def _paid_wrongly(events: Sequence[Event], instruments: dict[str, Instrument]) -> Violations:
    """For an exchange elsewhere: each payment against its own figures."""
    found = []
    for event in unique_funding(events):
        notional = event.size_lots * event.mark_ticks * unit_of(instruments[event.instrument])
        due = Fraction(-notional * event.rate_ppb, 1_000_000_000).__floor__()
        if due != event.amount_units:
            found.append(f"{event.venue_funding_id}: due {due}, booked {event.amount_units}")
    return found


def entries_stop_after_a_trip(story: Story) -> Violations:
    """Between the trip of a breaker and its reset nothing that adds risk was intended or received."""
    tripped: set[str] = set()
    entries_after = set()
    for record in story.records():
        event = record.event
        if isinstance(event, BreakerTripped):
            tripped.add(event.breaker)
        elif isinstance(event, BreakerReset):
            tripped.discard(event.breaker)
        elif isinstance(event, OrderIntent) and tripped and event.purpose == "entry":
            entries_after.add(event.client_id)
    return [f"{client_id} is an entry after a trip" for client_id in sorted(entries_after)]


def trips_outlive_restarts(story: Story) -> Violations:
    """No start went on with a breaker that its journal shows tripped and not reset."""
    return [f"started again although {names} was tripped" for names in story.unrefused_trips]


def limits_hold_at_the_venue(story: Story) -> Violations:
    """Counting everything that could fill there, the position at the venue stays within the limit in lots."""
    limit = story.config["risk"].position_lots_max
    return [
        f"{order.client_id} could bring the position to {order.worst_lots} lots, limit {limit}"
        for order in story.received
        if order.purpose == "entry" and order.worst_lots > limit
    ]


def ids_are_intended_once(story: Story) -> Violations:
    """One client id, one intent in the journal."""
    times = Counter(r.event.client_id for r in story.records() if isinstance(r.event, OrderIntent))
    return [f"{client_id} was intended {count} times" for client_id, count in times.items() if count > 1]


def closing_orders_only_reduce(story: Story) -> Violations:
    """Stops, targets, exits and flattening orders say reduce-only, so that none can open the other side."""
    intents = [record.event for record in story.records() if isinstance(record.event, OrderIntent)]
    return [
        f"{intent.client_id} ({intent.purpose}) is not reduce-only"
        for intent in intents
        if intent.purpose != "entry" and not intent.reduce_only
    ]


def every_crash_is_told(story: Story) -> Violations:
    """As many restarts in the journal as there were lives after its first record."""
    resumed = sum(isinstance(record.event, RunResumed) for record in story.records())
    limit = story.crashes + len(story.refused)
    return [] if resumed <= limit else [f"{resumed} restarts recorded, {limit} happened"]


def unique_fills(events: Sequence[Event]) -> list[OrderFilled]:
    """Fills, each venue id once."""
    return list({event.venue_fill_id: event for event in events if isinstance(event, OrderFilled)}.values())


def unique_funding(events: Sequence[Event]) -> list[Funding]:
    """Settlements, each venue id once."""
    return list({event.venue_funding_id: event for event in events if isinstance(event, Funding)}.values())


def signed(fill: OrderFilled) -> int:
    """The change of the position."""
    return fill.fill_size_lots if fill.side == "buy" else -fill.fill_size_lots


def instruments_of(started: RunStarted) -> dict[str, Instrument]:
    """The instruments a journal begins with."""
    return {item.symbol: item for item in (msgspec.convert(each, Instrument) for each in started.instruments)}


def unit_of(instrument: Instrument) -> int:
    """Money units of one tick of one lot."""
    return int(Fraction(instrument.tick_size) * Fraction(instrument.lot_size) * 100_000_000)


CHECKS: tuple[Callable[[Story], Violations], ...] = (
    every_life_goes_its_way,
    no_order_twice,
    durable_before_effect,
    nothing_durable_lost,
    chain_verifies,
    replay_is_identical,
    ends_flat,
    no_bug_no_desync,
    our_books_are_the_venues,
    our_books_are_the_journals,
    funding_is_right,
    entries_stop_after_a_trip,
    trips_outlive_restarts,
    limits_hold_at_the_venue,
    ids_are_intended_once,
    closing_orders_only_reduce,
    every_crash_is_told,
)


def violations(story: Story) -> dict[str, Violations]:
    """What every check has found, by its name; empty when all is well."""
    found = {check.__name__: _said_by(check, story) for check in CHECKS}
    return {name: sentences for name, sentences in found.items() if sentences}


def _said_by(check: Callable[[Story], Violations], story: Story) -> Violations:
    try:
        return check(story)
    except (JournalFault, IndexError) as fault:
        return [f"the journal cannot be read: {fault}"]
