"""The checks are checked: each planted bug is found, by the check that should; the program as it is passes all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.mutants import MUTANTS, Mutant, planted, run_probe


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name.replace(" ", "_") for mutant in MUTANTS])
def test_a_planted_bug_is_found_by_name(mutant: Mutant, tmp_path: Path) -> None:
    """The named check speaks about the copy with the bug."""
    planted(mutant, tmp_path)
    done = run_probe(tmp_path, kind=mutant.probe, check=mutant.check)
    lines = done.stdout.splitlines()
    assert lines, done.stderr[-2_000:]
    assert lines[0] == str(tmp_path), f"the probe looked at {lines[0]}"
    assert lines[1].startswith(f"{mutant.check}: "), f"{mutant.name}: {lines[1:]}{done.stderr[-500:]}"


@pytest.mark.parametrize(
    "kind,check",
    sorted({(mutant.probe, mutant.check) for mutant in MUTANTS if mutant.probe not in ("crashes", "remote")}),
)
def test_without_a_bug_the_probe_finds_nothing(kind: str, check: str, tmp_path: Path) -> None:
    """The same probe on an unchanged copy is silent; the kinds left out are the crash tests themselves."""
    planted(None, tmp_path)
    done = run_probe(tmp_path, kind=kind, check=check)
    assert done.stdout.splitlines()[1:] == ["nothing"], done.stdout + done.stderr[-2_000:]
