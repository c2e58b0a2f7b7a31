"""Hours of disconnections leave nothing behind."""

from __future__ import annotations

import pytest

from tests.bitunix.checks import violations
from tests.bitunix.endurance import endure
from tests.bitunix.figures import leave

# `make soak` does twenty-four.
HOURS = 2.0
MEMORY_MB_PER_H = 1.0
DISK_MB = 100


@pytest.mark.slow
@pytest.mark.requirement("B37")
@pytest.mark.requirement("B58")
def test_a_disconnect_every_five_minutes_costs_nothing_that_stays() -> None:
    """Memory within a megabyte an hour, the same tasks and connections, the journal within its budget."""
    found = endure(HOURS)
    ended = found.story.ended()
    assert ended is not None
    assert (ended.reason, ended.flat) == ("duration", True)
    assert violations(found.story) == {}
    assert found.grown_mb_per_h < MEMORY_MB_PER_H
    assert found.tasks[0] == found.tasks[1]
    assert abs(found.links[0] - found.links[1]) <= 1
    assert found.disk_mb <= DISK_MB
    leave("endurance", {"endured_h": HOURS, "disconnects": found.cuts})
