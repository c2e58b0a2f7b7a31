"""docs/RELIABILITY.md says what was measured, and nothing else."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """The generator of the page."""
    return import_module("tools.reliability")


def test_the_page_is_what_the_figures_say(tool: ModuleType) -> None:
    """Nobody has typed a figure into it."""
    figures = json.loads((ROOT / "docs" / "reliability.json").read_text())
    assert (ROOT / "docs" / "RELIABILITY.md").read_text() == tool.page(figures)


def test_the_gate_has_met_every_fault_and_found_no_violation(tool: ModuleType) -> None:
    """The kept figures: enough seeds, each fault triggered, all bugs caught."""
    gate = json.loads((ROOT / "docs" / "reliability.json").read_text())["gate"]
    assert set(tool.COUNTS) >= {name for name in gate if isinstance(gate[name], int)}
    assert gate["seeds"] >= 200
    assert gate["violations"] == 0
    assert gate["mutants_caught"] == gate["mutants_planted"] >= 20
    assert min(fired for _, fired in gate["faults"].values()) > 0


def test_parts_are_added_up(tool: ModuleType) -> None:
    """Counts and faults are sums, recovery times are put together before their percentiles are taken."""
    parts = [
        {"seeds": 2, "orders": 10, "faults": {"slow": [1, 3]}, "recovery_s": [3.0, 1.0]},
        {"seeds": 1, "faults": {"slow": [2, 0], "gap": [1, 1]}, "recovery_s": [2.0]},
        {"mutants_planted": 1, "mutants_caught": 1},
    ]
    total = tool.merged(parts)
    assert (total["seeds"], total["orders"], total["mutants_caught"]) == (3, 10, 1)
    assert total["faults"] == {"gap": [1, 1], "slow": [3, 3]}
    assert total["recovery_s"] == {"count": 3, "p50": 2.0, "p99": 3.0, "max": 3.0}


def test_what_was_not_measured_is_called_so(tool: ModuleType) -> None:
    """No zero stands in for it."""
    assert tool.page({}).count("Not measured yet.") == 2
    assert tool.percentile([], 50) is None


def test_an_empty_folder_gives_no_figures(tool: ModuleType, tmp_path: Path) -> None:
    """An error that says what leaves them there."""
    with pytest.raises(SystemExit, match="make soak"):
        tool.take("soak", tmp_path)
