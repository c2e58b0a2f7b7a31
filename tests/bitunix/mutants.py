"""Planted bugs: each a change of the package, the stories that show it, and the check that must name it.

Run as a program it is the probe: `python -m tests.bitunix.mutants NUMBER` plants that bug, tells its stories until the
named check speaks, and says so. Nothing of the package may be imported before.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.bitunix.planting import ROOT, Change, plant

if TYPE_CHECKING:
    from tests.bitunix.plans import Plan

# A probe that finds nothing in so many stories has not found the bug.
STORIES_MAX = 12
PROBE_S_MAX = 110.0
Fault = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One bug. Its stories: these faults, crashes after so many seconds, settings, operators' words."""

    name: str
    changes: tuple[Change, ...]
    check: str
    faults: tuple[Fault, ...] = ()
    crashes_s: tuple[float, ...] = ()
    down_s: float = 1.0
    pairs: tuple[str, ...] = ()
    commands: tuple[tuple[float, str], ...] = ()
    first_seed: int = 1
    seconds: float = 40.0


def during(name: str, *, at_s: float = 5.0, for_s: float = 30.0, **more: Any) -> Fault:
    """A fault that lasts most of a story."""
    return {"fault": name, "at_s": at_s, "for_s": for_s, **more}


ONE_SECOND = ("run.interval=1s",)
TIGHT = ("run.interval=1s", "risk.position_lots_max=12")
LIMITS = "risk/limits.py"
ORDERS = "venues/bitunix/orders.py"
TRADES = "venues/bitunix/trades.py"
ACCOUNT = "venues/bitunix/account.py"
RECONCILING = "engine/reconciling.py"
STEP = "engine/step.py"
# What a request that may have arrived leads to.
DOUBT = "except (InDoubt, Malformed) as fault:\n            self._doubt(str(fault))"

MUTANTS: tuple[Mutant, ...] = (
    # Starts and comparisons.
    Mutant(
        name="a new run trades before its books were compared",
        changes=(
            Change(
                STEP, '== "live"\n    state.is_reconciled = not', '== "live"\n    state.is_reconciled = True or not'
            ),
            Change(LIMITS, 'return "the private stream is not connected"', "return None"),
            Change(LIMITS, "COMPARISONS_MISSED_MAX = 3", "COMPARISONS_MISSED_MAX = 10**12"),
            Change(RECONCILING, "    state.is_reconciled = False\n    ask(desk)", "    ask(desk)"),
        ),
        check="admission_follows_agreement",
        faults=(during("slow", at_s=0, target="get_pending_positions", delay_s=2.5),),
        pairs=ONE_SECOND,
    ),
    Mutant(
        name="no reconciliation at the restart",
        changes=(
            Change("session/lifetime.py", "    await reconcile(runner)\n", "    runner.is_taking_up = False\n"),
            Change(STEP, "state.is_reconciled = not state.needs_user_stream\n    # The private", "# The private"),
            Change(STEP, "    state.user_connected_ns = 0\n", ""),
        ),
        check="admission_follows_agreement",
        faults=(during("slow", at_s=10, for_s=20, target="get_pending_positions", delay_s=2.5),),
        crashes_s=(12.0,),
        pairs=ONE_SECOND,
    ),
    Mutant(
        name="a fresh private stream needs no comparison",
        changes=(Change(RECONCILING, "    state.is_reconciled = False\n    ask(desk)", "    ask(desk)"),),
        check="admission_follows_agreement",
        faults=tuple(during("ws_reset", at_s=at_s, for_s=1, target="user") for at_s in (8, 14, 20, 26)),
        pairs=ONE_SECOND,
    ),
    Mutant(
        name="a difference with the venue is ignored",
        changes=(Change(RECONCILING, "differences = _differences(desk, event)", "differences = {}"),),
        check="a_foreign_hand_ends_the_run",
        faults=(during("trade_failed", at_s=6, for_s=10),),
        seconds=70.0,
    ),
    Mutant(
        name="the venue's word at the end is not heard",
        changes=(
            Change(
                "engine/ending.py",
                "    state.last_word = (tuple(left)",
                "    left, differences = [], ()\n    state.last_word = (tuple(left)",
            ),
        ),
        check="ends_flat_or_says_so",
        faults=(during("trade_failed", at_s=37, for_s=3),),
        pairs=ONE_SECOND,
    ),
    Mutant(
        name="a stale snapshot is taken for a difference",
        changes=(
            Change(ACCOUNT, "if told == self._trades.told and before == self._positions():", "if told is not None:"),
            Change(RECONCILING, "if lasting and state.now_ns - state.desync_since_ns >= hold_ns:", "if differences:"),
            Change(RECONCILING, "{key: differences[key] for key in lasting}", "differences"),
        ),
        check="no_desync_of_our_own",
        pairs=("run.interval=1s", "risk.reconcile_every_s=5"),
    ),
    # Orders in doubt.
    Mutant(
        name="an order in doubt is sent again",
        changes=(Change(ORDERS, DOUBT, DOUBT.replace("self._doubt(str(fault))", "return str(fault), 0.0")),),
        check="nothing_is_sent_again_blindly",
        faults=(during("accept_then_5xx", target="place_order", p=0.5),),
    ),
    Mutant(
        name="a retry has a new client id",
        changes=(
            Change(
                ORDERS, DOUBT, DOUBT.replace("self._doubt(str(fault))", "self.wire_id += '-1'; return str(fault), 0.0")
            ),
        ),
        check="no_order_accepted_twice",
        faults=(during("accept_then_5xx", target="place_order", p=0.5),),
    ),
    Mutant(
        name="not found is taken as rejected",
        changes=(Change(ORDERS, "if not self._has_waited():\n            return False\n        try:", "try:"),),
        check="rejected_is_rejected",
        faults=(during("accept_late", target="place_order", p=0.5, delay_s=7.0),),
    ),
    Mutant(
        name="a time-out is taken as rejected",
        changes=(Change(ORDERS, DOUBT, DOUBT.replace("_doubt", "_refuse")),),
        check="rejected_is_rejected",
        faults=(during("accept_then_silence", target="place_order", p=0.5),),
    ),
    Mutant(
        name="the position is computed without unknown orders",
        changes=(
            Change(
                LIMITS,
                "for order in same_side if not order.reduce_only)\n    reducing",
                "for order in same_side if order.status not in ('sent', 'unknown'))\n    reducing",
            ),
        ),
        check="limits_hold_at_the_venue",
        faults=(
            during("not_found_then_exists", target="place_order", p=0.7, delay_s=15.0),
            during("lost_fills", target="user"),
        ),
        pairs=(*TIGHT, "risk.unknown_orders_max=100"),
    ),
    # Cancels and ends.
    Mutant(
        name="a cancel counts as done when it is sent",
        changes=(
            Change(
                "engine/orders.py",
                "        order.is_cancel_requested = True\n",
                "        order.is_cancel_requested = True\n        _move(desk, order, OrderStatus.CANCELLED)\n",
            ),
        ),
        check="limits_hold_at_the_venue",
        faults=(during("refuse", target="cancel_orders"),),
        pairs=TIGHT,
    ),
    Mutant(
        name="a cancel is told as done when it is sent",
        changes=(
            Change(
                ORDERS,
                "self._next_cancel_ns = now_ns + int(",
                "self._finish(End.CANCELLED, '')\n        _ = (now_ns + int)(",
            ),
        ),
        check="cancelled_is_cancelled",
        faults=(during("cancel_fill_race", for_s=60),),
        pairs=ONE_SECOND,
    ),
    Mutant(
        name="a waiting order is sent after its cancel",
        changes=(
            Change(
                ORDERS,
                "if self._is_cancel_wanted:\n                self._refuse",
                "if self.is_over:\n                self._refuse",
            ),
            Change(ORDERS, "while not self._is_cancel_wanted and (left_ns", "while (left_ns"),
            Change(ORDERS, "self._request(), is_wanted=self._is_wanted", "self._request(), is_wanted=lambda: True"),
        ),
        check="nothing_arrives_after_its_cancel",
        faults=(during("http_429", for_s=60, target="place_order", p=0.6, retry_after_s=1.0),),
        pairs=ONE_SECOND,
    ),
    # Money.
    Mutant(
        name="funding has the wrong sign",
        changes=(Change(ACCOUNT, "amount_units=units - seen,", "amount_units=seen - units,"),),
        check="books_are_equal",
        seconds=45.0,
    ),
    Mutant(
        name="the last funding of a closed position is not read",
        changes=(Change(ACCOUNT, " and row.mtime_ms >= self._floor_ms:", " and row.mtime_ms < 0:"),),
        check="books_are_equal",
        seconds=60.0,
        pairs=ONE_SECOND,
    ),
    Mutant(
        name="fees are dropped",
        changes=(Change(TRADES, "fee_units=fee_units(row.fee),", "fee_units=0,"),),
        check="every_fill_is_booked_once",
    ),
    Mutant(
        name="a repeated fill is booked again",
        changes=(
            Change(TRADES, "if row.trade_id in self._known:", "if row.trade_id in list(self._known)[1:]:"),
            Change(
                "engine/orders.py",
                "event.venue_fill_id in state.fill_ids:",
                "event.venue_fill_id in state.fill_ids[:0]:",
            ),
        ),
        check="books_are_equal",
    ),
    Mutant(
        name="what traded while we were down is not asked for",
        changes=(Change(TRADES, "self._line.venue_ms(since_ns)", "self._line.venue_ms(self._line.now_ns)"),),
        check="every_fill_is_booked_once",
        crashes_s=(14.0, 12.0),
        down_s=25.0,
        pairs=ONE_SECOND,
    ),
    # Blindness.
    Mutant(
        name="old market data are traded on",
        changes=(
            Change(LIMITS, "age_ns <= settings.data_age_s_max * NS_PER_S:", "age_ns >= 0:"),
            Change("venues/bitunix/line.py", "return age_ns <= self.data_age_s_max * NS_PER_S", "return True"),
        ),
        check="none_sent_blind",
        faults=(
            during("ws_mute", at_s=8, for_s=20, target="market"),
            during("refuse", at_s=8, for_s=20, target="market"),
        ),
        pairs=ONE_SECOND,
    ),
    Mutant(
        name="a silent private stream is traded on",
        changes=(
            Change(LIMITS, 'return "the private stream is not connected"', "return None"),
            Change(LIMITS, "if age_ns > limit_s * NS_PER_S", "if age_ns > 10 * limit_s * NS_PER_S"),
        ),
        check="none_sent_blind",
        faults=(
            during("ws_reset", at_s=5, for_s=1, target="user"),
            during("refuse", at_s=5, for_s=60, target="user"),
        ),
        seconds=60.0,
        pairs=ONE_SECOND,
    ),
    # The record.
    Mutant(
        name="orders leave before their record is durable",
        changes=(Change("session/runner.py", "is_durable = await self.make_durable()", "is_durable = True"),),
        check="none_sent_unrecorded",
    ),
    Mutant(
        name="the journal is written and not synced",
        changes=(Change("journal/store.py", "        self._disk.sync(name)\n", ""),),
        check="none_sent_unrecorded",
    ),
    Mutant(
        name="client ids begin anew after a restart",
        changes=(
            Change(
                STEP,
                "    # The private stream of this",
                "    state.next_order_number = 1\n    # The private stream of this",
            ),
        ),
        check="ids_are_intended_once",
        crashes_s=(12.0,),
        pairs=ONE_SECOND,
    ),
    Mutant(
        name="a tripped breaker is forgotten at the restart",
        changes=(Change("launch.py", "    if state.breakers:\n", "    if False:\n"),),
        check="trips_outlive_restarts",
        commands=((15.0, "kill"),),
        crashes_s=(15.4,),
        pairs=ONE_SECOND,
    ),
    Mutant(
        name="entries go on after a kill",
        changes=(
            Change(LIMITS, "    if state.breakers:\n        return", "    if False:\n        return"),
            Change(LIMITS, "if state.phase is not Phase.RUNNING or state.is_flattening_only:", "if False:"),
            Change(
                "engine/ending.py",
                "    if state.phase is not Phase.RUNNING:\n        return\n    state.phase = Phase.CANCELLING",
                "    if reason == 'kill':\n        return\n    state.phase = Phase.CANCELLING",
            ),
        ),
        check="entries_stop_after_a_trip",
        commands=((15.0, "kill"),),
        pairs=ONE_SECOND,
    ),
    Mutant(
        name="a flattening order may open the other side",
        changes=(
            Change(
                "engine/orders.py",
                "abs(size_lots),\n        reduce_only=True,",
                "abs(size_lots),\n        reduce_only=False,",
            ),
        ),
        check="closing_orders_only_reduce",
    ),
    Mutant(
        name="a decision reads the clock of the machine",
        changes=(
            Change(
                "engine/orders.py",
                "    _enter(desk, order)\n\n\n_CHANGES",
                "    if __import__('time').time_ns() % 5:\n        _enter(desk, order)\n\n\n_CHANGES",
            ),
        ),
        check="replay_is_identical",
    ),
)


def plans_of(mutant: Mutant) -> Iterator[Plan]:
    """The stories in which a bug should show."""
    from tests.bitunix.plans import Plan  # noqa: PLC0415 - not before the bug is planted
    from tests.scenarios.harness import Crash  # noqa: PLC0415

    for seed in range(mutant.first_seed, mutant.first_seed + STORIES_MAX):
        yield Plan(
            seed=seed,
            seconds=mutant.seconds,
            faults=tuple({**fault, "seed": seed} for fault in mutant.faults),
            crashes=tuple(Crash(after_s=after_s, down_s=mutant.down_s) for after_s in mutant.crashes_s),
            pairs=mutant.pairs,
            commands=mutant.commands,
        )


def probe(mutant: Mutant, *, is_planted: bool = True) -> str:
    """What the named check says; empty when it says nothing."""
    if is_planted:
        plant(mutant.changes)
    from tests.bitunix.checks import CHECKS, violations  # noqa: PLC0415 - not before the bug is planted
    from tests.bitunix.harness import Teller  # noqa: PLC0415

    assert mutant.check in {check.__name__ for check in CHECKS}, f"no check {mutant.check}"
    for plan in plans_of(mutant):
        found = violations(Teller(plan).play()).get(mutant.check)
        if found:
            return f"seed {plan.seed}: {found[0]}"
    return ""


def run_probe(number: int) -> subprocess.CompletedProcess[str]:
    """The probe of a bug, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "tests.bitunix.mutants", str(number)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PROBE_S_MAX,
        check=False,
    )


def main(arguments: list[str]) -> None:
    """The first finding of the check, or `nothing`; with `healthy` after the number without the bug."""
    mutant = MUTANTS[int(arguments[0])]
    found = probe(mutant, is_planted="healthy" not in arguments)
    sys.stdout.write((f"{mutant.check}: {found}" if found else "nothing") + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
