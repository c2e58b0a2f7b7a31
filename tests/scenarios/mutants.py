"""Planted bugs: each a replacement in one file of a copy of the package, and the check that must name it.

Run as a program it is the probe: it tells stories of one kind until the named check speaks, and says so.
`python -m tests.scenarios.mutants PROBE CHECK` (the package that is imported decides whether there is a bug).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from agora import launch
from tests.scenarios.checks import CHECKS, replay_is_identical, violations
from tests.scenarios.harness import START_NS, Crash, Setup, Story, Teller, load
from tests.scenarios.plans import crashes_of, lagging, remote_setup_of, setup_of, tell
from tests.simulation.disk import SimDisk

ROOT = Path(__file__).resolve().parents[2]
# A probe that finds nothing in so many stories has not found the bug.
STORIES_MAX = 60
PROBE_S_MAX = 110.0


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One bug: `old` is there exactly once in `file`; `probe` and `check` find it."""

    name: str
    file: str
    old: str
    new: str
    check: str
    probe: str = "crashes"


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        name="orders leave before their record is durable",
        file="session/runner.py",
        old="is_durable = await self.make_durable()",
        new="is_durable = True",
        check="durable_before_effect",
    ),
    Mutant(
        name="the journal is written and not synced",
        file="journal/store.py",
        old="        self._disk.sync(name)\n",
        new="",
        check="durable_before_effect",
    ),
    Mutant(
        name="a repeated fill is booked again",
        file="engine/orders.py",
        old="if event.venue_fill_id in state.fill_ids:",
        new="if event.venue_fill_id in state.fill_ids[:0]:",
        check="our_books_are_the_venues",
        probe="remote",
    ),
    Mutant(
        name="funding has the wrong sign",
        file="domain/accounting.py",
        old="return -instrument.notional_units",
        new="return instrument.notional_units",
        check="funding_is_right",
    ),
    Mutant(
        name="a tripped breaker is forgotten at the restart",
        file="launch.py",
        old="    if state.breakers:\n",
        new="    if False:\n",
        check="trips_outlive_restarts",
        probe="trips",
    ),
    Mutant(
        name="a full queue drops fills",
        file="venues/inbox.py",
        old="_DROPPABLE = (MarketQuote, MarketTrade, MarketDepth)",
        new="from agora.domain.events import OrderFilled\n_DROPPABLE = (MarketQuote, MarketTrade, OrderFilled)",
        check="our_books_are_the_venues",
        probe="lagging",
    ),
    Mutant(
        name="a decision reads the clock of the machine",
        file="engine/orders.py",
        old="    entry = _plan(desk, trader, intent)\n",
        new="    if __import__('time').time_ns() % 5 == 0:\n        return\n    entry = _plan(desk, trader, intent)\n",
        check="replay_is_identical",
    ),
    Mutant(
        name="a decision depends on the order of a set",
        file="engine/ending.py",
        old="for order in desk.state.orders():\n        orders.cancel",
        new="for order in map(desk.state.working.get, set(desk.state.working)):\n        orders.cancel",
        check="replay_is_identical_elsewhere",
        probe="elsewhere",
    ),
    Mutant(
        name="orders that were not acknowledged do not count against the limits",
        file="risk/limits.py",
        old="adding = sum(order.remaining_lots for order in same_side if not order.reduce_only)",
        new="adding = sum(o.remaining_lots for o in same_side if not o.reduce_only and o.status == 'accepted')",
        check="limits_hold_at_the_venue",
        probe="tight",
    ),
    Mutant(
        name="a cancel counts as done when it is sent",
        file="engine/orders.py",
        old="    order.is_cancel_requested = True\n",
        new="    order.is_cancel_requested = True\n    _move(desk, order, OrderStatus.CANCELLED)\n",
        check="limits_hold_at_the_venue",
        probe="tight",
    ),
    Mutant(
        name="client ids begin anew after a restart",
        file="engine/step.py",
        old="    state.user_connected_ns = 0\n    if state.phase",
        new="    state.user_connected_ns = 0\n    state.next_order_number = 1\n    if state.phase",
        check="ids_are_intended_once",
    ),
    Mutant(
        name="a torn tail is not cut off",
        file="journal/recovery.py",
        old="    disk.truncate(live_name(chain), offset)\n",
        new="",
        check="chain_verifies",
    ),
    Mutant(
        name="a checkpoint is written before its records are durable",
        file="session/keeper.py",
        old="            await log.commit()\n",
        new="",
        check="every_life_goes_its_way",
    ),
    Mutant(
        name="a flattening order may open the other side",
        file="engine/orders.py",
        old="        size_lots=abs(size_lots),\n        reduce_only=True,",
        new="        size_lots=abs(size_lots),\n        reduce_only=False,",
        check="closing_orders_only_reduce",
    ),
    Mutant(
        name="decisions that a crash cut off are not made again",
        file="session/lifetime.py",
        old="    for event in restored.replayed.pending:\n        runner.record(event)\n",
        new="",
        check="replay_is_identical",
    ),
    Mutant(
        name="answers that a crash cut off are not given again",
        file="session/lifetime.py",
        old="*restored.lost, *(",
        new="*(",
        check="our_books_are_the_venues",
    ),
    Mutant(
        name="answers whose market event was lost stay unexplained",
        file="session/recovery.py",
        old="if again.has_unexplained() else None",
        new="if again.has_unexplained() and False else None",
        check="our_books_are_the_venues",
    ),
    Mutant(
        name="what the exchange did meanwhile is not asked for",
        file="session/runner.py",
        old="            missed = await self.venue.missed()\n",
        new="            missed = ()\n",
        check="our_books_are_the_venues",
        probe="remote",
    ),
    Mutant(
        name="an order whose sending was not recorded is sent again",
        file="session/reconcile.py",
        old="        if order.client_id in at_venue:\n            continue",
        new="        if order.client_id in at_venue:\n            await runner.send(order)\n            continue",
        check="no_order_twice",
        probe="remote",
    ),
)


# Probes: stories of one kind, and what else is looked at besides the checks.


def _crashes() -> Iterator[Story]:
    for seed in range(1, STORIES_MAX):
        yield tell(seed)


def _remote() -> Iterator[Story]:
    for seed in range(1, STORIES_MAX):
        yield Teller(remote_setup_of(seed), crashes_of(seed)).play()


def _lagging() -> Iterator[Story]:
    for seed in range(1, 6):
        yield Teller(lagging(seed)).play()


def _tight() -> Iterator[Story]:
    for seed in range(1, STORIES_MAX):
        base = setup_of(seed)
        setup = replace(base, pairs=(*base.pairs, "risk.position_lots_max=8"))
        yield Teller(setup, crashes_of(seed)).play()


def _tripping(seed: int) -> Setup:
    base = setup_of(seed)
    return replace(base, pairs=(*base.pairs, "risk.losing_streak_max=3"))


def _trips() -> Iterator[Story]:
    for seed in range(40, 60):
        setup = _tripping(seed)
        ended = Teller(setup).play().ended()
        assert ended is not None
        yield Teller(setup, [Crash(after_s=(ended.ts_ns - START_NS) / 1e9 - 0.1)]).play()


PROBES: dict[str, Callable[[], Iterator[Story]]] = {
    "crashes": _crashes,
    "remote": _remote,
    "lagging": _lagging,
    "tight": _tight,
    "trips": _trips,
}


def _elsewhere() -> str:
    """Write a journal down and let another process, with another hash seed, make its decisions again."""
    for seed in range(1, 11):
        story = Teller(setup_of(seed)).play()
        with tempfile.TemporaryDirectory() as folder:
            for name in ("events.jsonl", "market.jsonl"):
                (Path(folder) / name).write_bytes(story.disk.read(name))
            done = subprocess.run(
                [sys.executable, "-m", "tests.scenarios.mutants", "again", folder, str(seed)],
                env={**os.environ, "PYTHONHASHSEED": str(seed)},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        if done.stdout.strip() != "same":
            return f"seed {seed}: {done.stdout.strip()[:300]}{done.stderr.strip()[-300:]}"
    return ""


def _again(folder: Path, seed: int) -> str:
    setup = setup_of(seed)
    disk = SimDisk()
    for path in folder.iterdir():
        disk.damage(path.name, path.read_bytes())
    found = replay_is_identical(Story(setup, load(setup), disk))
    return found[0] if found else "same"


def probe(kind: str, check: str) -> str:
    """What the named check says about stories of that kind; empty when nothing was found."""
    if kind == "elsewhere":
        return _elsewhere()
    for story in PROBES[kind]():
        found = violations(story).get(check)
        if found:
            return f"seed {story.setup.seed}: {found[0]}"
    return ""


def planted(mutant: Mutant | None, folder: Path) -> None:
    """A copy of the package in that folder, with the bug if one is given."""
    shutil.copytree(ROOT / "agora", folder / "agora", ignore=shutil.ignore_patterns("__pycache__"))
    if mutant is None:
        return
    path = folder / "agora" / mutant.file
    text = path.read_text()
    assert text.count(mutant.old) == 1, f"{mutant.file} holds {mutant.old!r} {text.count(mutant.old)} times"
    path.write_text(text.replace(mutant.old, mutant.new))


def run_probe(folder: Path, *, kind: str, check: str) -> subprocess.CompletedProcess[str]:
    """The probe on the package in that folder; kernels uncompiled, since a copy would compile them anew."""
    return subprocess.run(
        [sys.executable, "-m", "tests.scenarios.mutants", kind, check],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder}:{ROOT}", "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        timeout=PROBE_S_MAX,
        check=False,
    )


def main(arguments: list[str]) -> None:
    """The probe as a program: the first finding of a check, or `nothing`."""
    if arguments[0] == "again":
        sys.stdout.write(_again(Path(arguments[1]), int(arguments[2])) + "\n")
        return
    kind, check = arguments
    assert check in {each.__name__ for each in CHECKS} | {"replay_is_identical_elsewhere"}
    found = probe(kind, check)
    package = Path(launch.__file__).parent.parent
    sys.stdout.write(f"{package}\n" + (f"{check}: {found}" if found else "nothing") + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
