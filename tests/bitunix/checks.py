"""What must hold after any story. Each check returns its violations as sentences, in its own name.

They read the venue's ledger, the journal and when its records became durable; money and positions are computed here
once more, plainly. Nothing of the engine or of the venue's client is trusted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from agora.domain.errors import ExitCode, JournalFault
from agora.domain.events import (
    BreakerReset,
    BreakerTripped,
    Event,
    OrderCancelIntent,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderIntent,
    OrderRejected,
    Reconcile,
    RunResumed,
    RunStarted,
    UserAlive,
    UserConnected,
    UserLost,
)
from agora.engine.state import state_hash
from agora.journal.records import DURABLE_KINDS, check_line
from agora.journal.replay import replay, subject_of
from agora.journal.verify import verify_chain
from tests.bitunix.harness import NS_PER_S, START_NS, Story, Teller
from tests.scenarios.checks import signed, unique_fills

Violations = list[str]
# From the decision to the venue's clerk an order is under way; a slower one is told by the ages themselves.
UNDER_WAY_S = 0.5
# What has left arrives within this, unless the venue is told to be slow.
ON_THE_WIRE_S = 0.1
# Reading the account takes some seconds beside a busy trader, once for the comparison and once at the end of its hold.
FOREIGN_SLACK_S = 20.0
FOREIGN = ("foreign_position_change", "trade_failed")


def every_life_goes_its_way(story: Story) -> Violations:
    """No start and no life ended by an exception that nobody caught."""
    return story.broken


def no_bug(story: Story) -> Violations:
    """No invariant of ours broke."""
    ended = story.ended()
    if ended is None:
        return ["there is no run.ended"]
    return [f"ended by {ended.reason}, exit 8: {ended.residual}"] if ended.exit_code == ExitCode.BUG else []


def nothing_durable_lost(story: Story) -> Violations:
    """What was durable before a crash is in the journal after it, the same bytes in the same order."""
    # A run whose venue never let it begin has no journal, and had nothing durable.
    final = story.disk.read("events.jsonl") if story.disk.exists("events.jsonl") else b""
    kept = set(final.splitlines())
    found = []
    for number, remains in enumerate(story.remains, start=1):
        durable = remains["events.jsonl"]
        whole = durable[: durable.rfind(b"\n") + 1]
        if not final.startswith(whole):
            lost = [line for line in whole.splitlines() if line not in kept and _is_durable_kind(line)]
            found += [f"crash {number} lost {line[:160]!r}" for line in lost]
    return found


def _is_durable_kind(line: bytes) -> bool:
    header = check_line(line)
    return not isinstance(header, str) and header.kind in DURABLE_KINDS


def chain_verifies(story: Story) -> Violations:
    """The hash chain of the finished journal holds to its last byte."""
    fault = verify_chain(story.disk).fault  # type: ignore[arg-type]
    return [] if fault is None else [fault]


def replay_is_identical(story: Story) -> Violations:
    """A fresh desk makes every recorded decision again, in the same state."""
    records = story.records()
    first = records[0].event
    assert isinstance(first, RunStarted)
    desk = Teller(story.plan).rebuild(story.config, first).desk
    found = replay(subject_of(desk), records)
    if found.divergence is not None:
        d = found.divergence
        return [f"record {d.seq}: the replay gives {d.expected}, the journal has {d.found}"]
    if found.pending:
        return [f"the journal ends before {len(found.pending)} decisions"]
    if story.desk is not None and state_hash(desk.snapshot()) != state_hash(story.desk.snapshot()):
        return ["the replayed state is not the state of the run"]
    return []


def ids_are_intended_once(story: Story) -> Violations:
    """One client id, one intent in the journal."""
    times = Counter(intent.client_id for intent in intents_of(story))
    return [f"{client_id} was intended {count} times" for client_id, count in times.items() if count > 1]


def entries_stop_after_a_trip(story: Story) -> Violations:
    """Between the trip of a breaker and its reset nothing that adds risk was intended."""
    tripped: set[str] = set()
    found = []
    for event in events_of(story):
        if isinstance(event, BreakerTripped):
            tripped.add(event.breaker)
        elif isinstance(event, BreakerReset):
            tripped.discard(event.breaker)
        elif isinstance(event, OrderIntent) and tripped and event.purpose == "entry":
            found.append(f"{event.client_id} is an entry after a trip of {', '.join(sorted(tripped))}")
    return found


def trips_outlive_restarts(story: Story) -> Violations:
    """No start went on with a breaker that its journal shows tripped and not reset."""
    return [f"started again although {names} was tripped" for names in story.unrefused_trips]


def closing_orders_only_reduce(story: Story) -> Violations:
    """Stops, targets, exits and flattening orders say reduce-only, so that none can open the other side."""
    return [
        f"{intent.client_id} ({intent.purpose}) is not reduce-only"
        for intent in intents_of(story)
        if intent.purpose != "entry" and not intent.reduce_only
    ]


def every_crash_is_told(story: Story) -> Violations:
    """As many restarts in the journal as there were lives after its first record, at most."""
    resumed = sum(isinstance(event, RunResumed) for event in events_of(story))
    limit = story.lives - 1
    return [] if resumed <= limit else [f"{resumed} restarts recorded, {limit} happened"]


def admission_follows_agreement(story: Story) -> Violations:
    """No entry is decided between a start or fresh private stream and a `Reconcile` asked for after it that agrees."""
    lots: Counter[str] = Counter()
    seen: set[str] = set()
    fresh_ns, is_open, found = 0, False, []
    for event in events_of(story):
        if isinstance(event, RunStarted | RunResumed | UserConnected | UserLost):
            is_open, fresh_ns = False, event.ts_ns
        elif isinstance(event, OrderFilled) and event.venue_fill_id not in seen:
            seen.add(event.venue_fill_id)
            lots[event.instrument] += signed(event)
        elif isinstance(event, Reconcile) and event.asked_ts_ns >= fresh_ns:
            is_open = {name: size for name, size in event.positions.items() if size} == {
                name: size for name, size in lots.items() if size
            }
        elif isinstance(event, OrderIntent) and event.purpose == "entry" and not is_open:
            found.append(f"{event.client_id} was decided before the books had been compared")
    return found


# At the venue.


def books_are_equal(story: Story) -> Violations:
    """Position, cost, fees, funding, realised profit and cash of the run are those of the venue, to the last unit."""
    if story.desk is None or story.is_unknowable():
        return []
    state, account = story.desk.state, story.account()
    cost = {row["symbol"]: row["cost_units"] * (1 if row["lots"] > 0 else -1) for row in account["positions"]}
    found = []
    for name, holding in state.holdings.items():
        pairs = (
            ("lots", holding.position.size_lots, account["net_lots"][name]),
            ("units of cost", holding.position.cost_units, cost.get(name, 0)),
        )
        found += [
            f"{name}: we have {ours} {what}, the venue {theirs}" for what, ours, theirs in pairs if ours != theirs
        ]
    paid_in = state.ledger.deposits - account["deposits_units"]
    if paid_in:
        found.append(f"deposits: we have {state.ledger.deposits} units, the venue {account['deposits_units']}")
    for what in ("cash", "realised", "fees", "funding"):
        ours, theirs = getattr(state.ledger, what), account[f"{what}_units"]
        if ours != theirs:
            found.append(f"{what}: we have {ours} units, the venue {theirs}")
    return found


def every_fill_is_booked_once(story: Story) -> Violations:
    """The venue's trades and the journal's fills are the same, with price, size and fee."""
    if story.is_unknowable():
        return []
    ours = {
        fill.venue_fill_id: (fill.instrument, fill.side, fill.fill_price_ticks, fill.fill_size_lots, fill.fee_units)
        for fill in unique_fills(events_of(story))
    }
    theirs = {
        row["trade_id"]: (row["symbol"], row["side"].lower(), row["price_ticks"], row["size_lots"], row["fee_units"])
        for row in story.account()["fills"]
    }
    found = [f"trade {name} {theirs[name]} is not in the journal" for name in theirs.keys() - ours.keys()]
    found += [f"fill {name} {ours[name]} is not at the venue" for name in ours.keys() - theirs.keys()]
    both = ours.keys() & theirs.keys()
    found += [f"trade {name}: {theirs[name]}, booked {ours[name]}" for name in both if ours[name] != theirs[name]]
    return sorted(found)


def no_order_accepted_twice(story: Story) -> Violations:
    """The venue took no client id, and no entry, exit or flattening order under any name, more than once."""
    found = [
        f"{note['client_id']} was accepted {note['times_accepted']} times"
        for note in story.notes()
        if note["times_accepted"] > 1
    ]
    once = {intent.client_id for intent in intents_of(story) if intent.purpose not in ("stop", "target")}
    names = Counter(story.intent_of(note["client_id"]) for note in _taken(story))
    return found + [f"{name} was accepted as {n} orders" for name, n in names.items() if name in once and n > 1]


def nothing_is_sent_again_blindly(story: Story) -> Violations:
    """A client id that the venue has taken does not arrive there once more."""
    taken: set[str] = set()
    found = []
    for note in story.notes():
        if note["call"] == "modify_order":
            continue
        if note["client_id"] in taken:
            found.append(f"{note['client_id']} was sent again after it had been accepted")
        if note["accepted"]:
            taken.add(note["client_id"])
    return found


def rejected_is_rejected(story: Story) -> Violations:
    """What the run calls rejected, the venue has not taken: absence is not evidence before its time."""
    rejected = {event.client_id: event.ts_ns for event in events_of(story) if isinstance(event, OrderRejected)}
    return [
        f"{note['client_id']} was taken by the venue and called rejected"
        for note in _taken(story)
        if note["client_id"] in rejected
    ]


def cancelled_is_cancelled(story: Story) -> Violations:
    """What the run calls cancelled or expired trades no more: only the venue's word ends an order."""
    ended: dict[str, int] = {}
    for event in events_of(story):
        if isinstance(event, OrderCancelled | OrderExpired):
            ended.setdefault(event.client_id, event.ts_ns)
    return [
        f"{row['client_id']} traded {(row['ts_ns'] - ended[row['client_id']]) / NS_PER_S:.3f} s after its end was told"
        for row in story.account()["fills"]
        if row["client_id"] in ended and row["ts_ns"] > ended[row["client_id"]]
    ]


def nothing_arrives_after_its_cancel(story: Story) -> Violations:
    """An order that is to be cancelled is not sent any more: no queue is drained into the venue at the end."""
    cancelled = {event.client_id: event.ts_ns for event in events_of(story) if isinstance(event, OrderCancelIntent)}
    late_ns = int(UNDER_WAY_S * NS_PER_S)
    return [
        f"{note['client_id']} arrived later than {UNDER_WAY_S} s after its cancel was decided"
        for note in story.notes()
        if note["is_increasing"] and note["ts_ns"] > cancelled.get(note["client_id"], note["ts_ns"]) + late_ns
    ]


def no_desync_of_our_own(story: Story) -> Violations:
    """A run whose account nobody else has touched never calls the venue's books different for good."""
    ended = story.ended()
    if ended is None or story.plan.is_grave or "desync" not in ended.reason:
        return []
    return [f"ended by {ended.reason}"]


def a_foreign_hand_ends_the_run(story: Story) -> Violations:
    """Once somebody else has changed the account, nothing is entered after the time of a comparison and its hold."""
    fired = [row for row in story.faults if row["fault"] in FOREIGN and row["fired"]]
    booked = {fill.venue_fill_id for fill in unique_fills(events_of(story))}
    taken_back = {row["trade_id"] for row in story.account()["fills"] if row["is_busted"]}
    if not fired or (taken_back and not taken_back & booked):
        return []  # Nothing happened, or it was undone before we had heard of it.
    risk = story.config["risk"]
    limit_s = risk.reconcile_every_s + risk.desync_hold_s + FOREIGN_SLACK_S
    limit_ns = START_NS + int((max(row["at_s"] + row["for_s"] for row in fired) + limit_s) * NS_PER_S)
    late = [intent for intent in intents_of(story) if intent.purpose == "entry" and intent.ts_ns > limit_ns]
    return [f"{intent.client_id} was entered although the account was not ours alone" for intent in late[:1]]


def _taken(story: Story) -> list[dict[str, Any]]:
    return [note for note in story.notes() if note["accepted"] and note["call"] != "modify_order"]


def none_sent_unrecorded(story: Story) -> Violations:
    """The intent of every order was durable before the venue's clerk saw its bytes."""
    found = []
    for note in story.notes():
        name = story.intent_of(note["client_id"])
        if name is None:
            found.append(f"{note['client_id'] or 'an order without a client id'} was never intended")
        elif story.durable_ns[name] > note["ts_ns"]:
            late_ms = (story.durable_ns[name] - note["ts_ns"]) / 1e6
            found.append(f"{note['client_id']} arrived {late_ms:.3f} ms before its intent was durable")
    return found


def none_sent_blind(story: Story) -> Violations:
    """What raises risk arrives while market data are fresh and the private stream is heard."""
    risk = story.config["risk"]
    stream_s = risk.user_stream_age_s_max + story.config["bitunix"].keepalive_s
    found = []
    for note in story.notes():
        if not note["is_increasing"]:
            continue
        age_ms, stream = note["market_age_ms"], note["private_stream"]
        if age_ms is None or age_ms > (risk.data_age_s_max + ON_THE_WIRE_S) * 1_000:
            found.append(f"{note['client_id']} arrived on data {age_ms} ms old")
        if stream["connected"] and stream["silent_ms"] > (stream_s + UNDER_WAY_S) * 1_000:
            found.append(f"{note['client_id']} arrived with the private stream silent for {stream['silent_ms']} ms")
    return found + _deaf_entries(story, stream_s)


def _deaf_entries(story: Story, stream_s: float) -> Violations:
    """Entries decided although nothing was heard from the private stream for too long, by the journal."""
    heard_ns, found = 0, []
    for event in events_of(story):
        if isinstance(event, UserConnected | UserAlive):
            heard_ns = event.ts_ns
        elif isinstance(event, OrderIntent) and event.purpose == "entry":
            silent_s = (event.ts_ns - heard_ns) / NS_PER_S
            if silent_s > stream_s:
                found.append(f"{event.client_id} was decided {silent_s:.1f} s after the private stream was last heard")
    return found


def limits_hold_at_the_venue(story: Story) -> Violations:
    """Counting everything that could fill there, the position stays within the limit in lots."""
    if story.plan.is_grave:
        return []
    limit = story.config["risk"].position_lots_max
    return [
        f"{note['client_id']} could bring the position to {note['worst_lots']} lots, limit {limit}"
        for note in story.notes()
        if note["is_increasing"] and note["accepted"] and note["worst_lots"] > limit
    ]


def ends_flat_or_says_so(story: Story) -> Violations:
    """Flat at the venue, also a while later; or exit 6, and what is left is what the venue has."""
    ended = story.ended()
    if ended is None:
        return []
    if ended.flat:
        left = story.left() | story.left(is_late=True)
        return [f"ended flat by {ended.reason}, and the venue has {', '.join(sorted(left))}"] if left else []
    if ended.exit_code not in (ExitCode.NOT_FLAT, ExitCode.JOURNAL_FAILURE):
        return [f"not flat, but exit {ended.exit_code}"]
    if "the venue did not confirm" in ended.residual:
        return []
    said, left = _residual(story, ended.residual), story.left()
    has_triggers = any(text.startswith("trigger ") for text in left)
    plain = {text for text in left if not text.startswith("trigger ")}
    if said - {"a stop"} == plain and ("a stop" in said) == has_triggers:
        return []
    return [f"the report says {sorted(said)}, the venue has {sorted(left)}"]


def _residual(story: Story, residual: tuple[str, ...]) -> set[str]:
    """What a report says is left; stops are triggers at the venue, which have no client ids."""
    stops = {f"open order {intent.client_id}" for intent in intents_of(story) if intent.purpose == "stop"}
    said = {text for text in residual if text.startswith(("position ", "open order "))}
    return {"a stop" if text in stops else text for text in said}


def nothing_is_left_without_need(story: Story) -> Violations:
    """A run whose venue was well for the last half minute, and who was alone on its account, ends flat."""
    ended = story.ended()
    if ended is None or ended.flat or story.plan.is_grave or story.was_ill_ns() > ended.ts_ns - 30 * NS_PER_S:
        return []
    return [f"exit {ended.exit_code} ({ended.reason}): {', '.join(ended.residual)}"]


# What the checks read.


def intents_of(story: Story) -> list[OrderIntent]:
    """The orders that were decided."""
    return [event for event in events_of(story) if isinstance(event, OrderIntent)]


def events_of(story: Story) -> list[Event]:
    """The events of the journal, in order."""
    return [record.event for record in story.records()]


CHECKS: tuple[Callable[[Story], Violations], ...] = (
    every_life_goes_its_way,
    no_bug,
    nothing_durable_lost,
    chain_verifies,
    replay_is_identical,
    ids_are_intended_once,
    entries_stop_after_a_trip,
    trips_outlive_restarts,
    closing_orders_only_reduce,
    every_crash_is_told,
    admission_follows_agreement,
    books_are_equal,
    every_fill_is_booked_once,
    no_order_accepted_twice,
    nothing_is_sent_again_blindly,
    rejected_is_rejected,
    cancelled_is_cancelled,
    nothing_arrives_after_its_cancel,
    no_desync_of_our_own,
    a_foreign_hand_ends_the_run,
    none_sent_unrecorded,
    none_sent_blind,
    limits_hold_at_the_venue,
    ends_flat_or_says_so,
    nothing_is_left_without_need,
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
