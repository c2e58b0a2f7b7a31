"""Fault plans: every promised name, when and how often faults happen, and what a mistaken plan is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agora.domain.numbers import NS_PER_S
from agora.testnet.faults import ENTRIES_MAX, FAULTS_BY_KIND, OPTIONS, Fault, FaultPlan, PlannedFault, PlanRefused
from tests.testnet.servers import plan


class Stopwatch:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now_ns = 10**15

    def __call__(self) -> int:
        """Its time."""
        return self.now_ns


def loaded(*entries: dict[str, object]) -> tuple[FaultPlan, Stopwatch]:
    """A plan of a server that knows every fault and two calls."""
    watch = Stopwatch()
    faults = FaultPlan(implemented=Fault, targets=("rest", "orders"), monotonic_ns=watch)
    faults.load(plan(*entries))
    return faults, watch


def names(fired: list[PlannedFault]) -> list[Fault]:
    """Which faults those are."""
    return [entry.fault for entry in fired]


def test_every_fault_has_one_kind_and_every_option_is_a_field() -> None:
    """The table of kinds covers all names once; the table of options names fields of an entry."""
    assert sorted(fault for faults in FAULTS_BY_KIND.values() for fault in faults) == sorted(Fault)
    assert len(FAULTS_BY_KIND["model"]) == 12
    assert {name for options in OPTIONS.values() for name in options} <= set(PlannedFault.__struct_fields__)


def test_a_fault_happens_from_its_time_for_its_time() -> None:
    """From `at_s` after loading, before `at_s + for_s`; without `for_s` until it is removed."""
    faults, watch = loaded({"fault": "slow", "at_s": 60, "for_s": 5}, {"fault": "html", "at_s": 62})
    begun_ns = watch.now_ns
    seen = []
    for after_s in (0, 59.9, 60, 62, 64.9, 65, 10_000):
        watch.now_ns = begun_ns + int(after_s * NS_PER_S)
        seen.append(names(faults.firing(("rest",))))
    slow, html = Fault.SLOW, Fault.HTML
    assert seen == [[], [], [slow], [slow, html], [slow, html], [html], [html]]
    assert faults.clear() == 2
    assert not faults.firing(("rest",))


def test_a_fault_happens_to_its_target_and_to_what_it_can_show_in() -> None:
    """A target is a name of the call or all; who asks for some faults gets no others, and does not use them up."""
    faults, _ = loaded({"fault": "slow", "target": "orders"}, {"fault": "html"}, {"fault": "gap"})
    assert names(faults.firing(("rest",), (Fault.SLOW, Fault.HTML))) == [Fault.HTML]
    assert names(faults.firing(("rest", "orders"))) == [Fault.SLOW, Fault.HTML, Fault.GAP]
    assert [row["occasions"] for row in faults.report()] == [1, 2, 1]


@given(st.integers(0, 2**63 - 1), st.floats(0.1, 0.9))
def test_chance_is_the_seeds(seed: int, p: float) -> None:
    """The same seed decides the same occasions; about a part `p` of many fire, and the report counts them."""
    runs = []
    for _ in range(2):
        faults, _ = loaded({"fault": "slow", "p": p, "seed": seed})
        runs.append([bool(faults.firing(("rest",))) for _ in range(400)])
        assert faults.report()[0]["fired"] == sum(runs[-1])
    assert runs[0] == runs[1]
    assert abs(sum(runs[0]) / 400 - p) < 0.15


@pytest.mark.parametrize(
    "content, words",
    [
        (b"{}", "JSON list"),
        (b"[1]", "JSON list"),
        (b"\xff", "JSON list"),
        (b"[" * 100_000, "JSON list"),
        (b"[" + b" " * 300_000 + b"]", "bytes"),
        (plan({"fault": "sloww"}), "unknown fault 'sloww'; this server knows .*model_injection"),
        (plan({"at_s": 1}), "unknown fault None"),
        (plan({"fault": ["slow"]}), "unknown fault"),
        (plan({"fault": "slow", "for": 5}), "unknown key 'for' of slow; known are at_s.*delay_s"),
        (plan({"fault": "html", "delay_s": 5}), "unknown key 'delay_s' of html"),
        (plan({"fault": "slow", "target": "ordres"}), r"unknown target 'ordres'; this server knows \*, rest, orders"),
        (plan({"fault": "slow", "p": 1.5}), "entry 0"),
        (plan({"fault": "slow"}, {"fault": "slow", "at_s": -1}), "entry 1"),
        (plan({"fault": "slow", "at_s": "soon"}), "entry 0"),
        (plan(*[{"fault": "slow"}] * (ENTRIES_MAX + 1)), "at most 1000"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else value[:20],
)
def test_a_plan_that_cannot_be_meant_is_refused_whole(content: bytes, words: str) -> None:
    """The message says what is wrong and what is known; entries before the mistake are not taken over either."""
    faults, _ = loaded()
    with pytest.raises(PlanRefused, match=words):
        faults.load(content)
    assert faults.report() == []


def test_a_server_knows_only_what_it_implements() -> None:
    """A fault of another kind of server is unknown to it."""
    model = FaultPlan(implemented=FAULTS_BY_KIND["model"], targets=(), monotonic_ns=Stopwatch())
    with pytest.raises(PlanRefused, match="knows model_slow, model_silent"):
        model.load(plan({"fault": "lost_fills"}))


def test_every_fault_and_option_of_a_venue_is_on_its_page() -> None:
    """docs/TESTNET.md says what each means."""
    page = (Path(__file__).parents[2] / "docs" / "TESTNET.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    for kind, faults in FAULTS_BY_KIND.items():
        for fault in faults if kind != "model" else ():
            told = [row for row in rows if f"`{fault}`" in row.split("|")[1]]
            assert len(told) == 1, fault
            assert all(f"`{option}`" in told[0] for option in OPTIONS.get(fault, ())), fault
