"""A process that is killed while it records: real files, a real thread, no chance to say goodbye."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agora.domain.events import OrderIntent
from agora.journal import Disk, read_records, recover, verify_chain

ROOT = Path(__file__).resolve().parents[2]

RECORDER = """
import asyncio, sys
from pathlib import Path
from agora.journal import Disk, Limits, open_log, recover
from tests.journal.builders import intent, quote, wall_ns

async def main():
    disk = Disk(Path(sys.argv[1]))
    limits = Limits(segment_bytes=20_000, budget_bytes=200_000)
    log = open_log(disk, wall_ns=wall_ns, after=recover(disk), limits=limits)
    while True:
        log.append(quote(log.seq))
        if log.seq % 10 == 9:
            number = log.append(intent(log.seq))
            await log.commit()
            print(number, flush=True)

asyncio.run(main())
"""


@pytest.mark.requirement("B15")
def test_what_was_committed_before_a_kill_is_there_after_it(tmp_path: Path) -> None:
    """Killed five times in different places, the journal holds each committed intent once and verifies."""
    folder = tmp_path / "run"
    committed: list[int] = []
    for lines in (1, 7, 40, 150, 300):
        arguments = [sys.executable, "-c", RECORDER, str(folder)]
        with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            committed += [int(process.stdout.readline()) for _ in range(lines)]
            process.kill()
            committed += [int(line) for line in process.stdout if line.endswith("\n")]
        found = recover(Disk(folder))
        assert found.next_seq > committed[-1]
        assert verify_chain(Disk(folder)).fault is None
        intents = [record.seq for record in read_records(Disk(folder)) if isinstance(record.event, OrderIntent)]
        assert intents[: len(committed)] == committed
        committed = intents
