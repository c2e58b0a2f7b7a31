"""Real processes of the command line: started with an environment of their own, watched by what they say.

Nothing here sleeps: a process is waited for by its output or its end, each with a limit of time.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from agora.domain.events import MarketEvent
from agora.domain.instruments import known_instrument
from agora.venues.local import LocalMarket, LocalSettings, live_events
from agora.venues.recording import Origin, write_recording

ROOT = Path(__file__).resolve().parents[2]
TICK_NS = 100_000_000
START_NS = 1_790_466_300_000_000_000
# A start loads compiled kernels from the cache; with a cold cache it compiles for some ten seconds.
WAIT_S = 60.0


def environment(home: Path, **more: str) -> dict[str, str]:
    """What a process sees: its own home, the tests' compile cache, nothing of the tester's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AGORA_")}
    return {**kept, "AGORA_HOME": str(home), "JSON_LOGS": "1", "PYTHONPATH": str(ROOT), **more}


def agora(home: Path, *arguments: str, python: str = sys.executable, **more: str) -> subprocess.CompletedProcess[str]:
    """A command to its end."""
    return subprocess.run(
        [python, "-m", "agora", *arguments],
        env=environment(home, **more),
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


class Running:
    """A run in a process of its own."""

    def __init__(self, home: Path, *arguments: str, command: str = "run") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "agora", command, *arguments],
            env=environment(home),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert self._process.stderr is not None
        self._pipe = self._process.stderr
        os.set_blocking(self._pipe.fileno(), False)
        self.said = b""

    def wait_for(self, text: str, limit_s: float = WAIT_S) -> None:
        """Return when the process has said so; AssertionError with all it said instead when it does not."""
        assert self._read(text.encode(), limit_s), f"never said {text!r}: {self.said.decode()[-2_000:]}"

    def watch(self, seconds: float) -> None:
        """Read along for so long, or until the process has ended."""
        self._read(None, seconds)

    def _read(self, wanted: bytes | None, limit_s: float) -> bool:
        end_s = time.monotonic() + limit_s
        while wanted is None or wanted not in self.said:
            left_s = end_s - time.monotonic()
            if left_s <= 0 or not select.select([self._pipe], [], [], left_s)[0]:
                return False
            piece = self._pipe.read()
            if not piece:
                return wanted is not None and wanted in self.said
            self.said += piece
        return True

    def signal(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """As a power cut for the process."""
        self._process.send_signal(signal.SIGKILL)
        self.wait()

    def wait(self, limit_s: float = WAIT_S) -> int:
        """The exit code."""
        self._read(None, limit_s)
        code = self._process.wait(timeout=limit_s)
        self._pipe.close()
        return code


def only_run(home: Path) -> Path:
    """The folder of the one run in that home."""
    folders = [path for path in (home / "runs").iterdir() if path.is_dir() and not path.is_symlink()]
    assert len(folders) == 1, folders
    return folders[0]


def report_of(folder: Path) -> dict[str, Any]:
    """The final report."""
    report = json.loads((folder / "final_report.json").read_text())
    assert isinstance(report, dict)
    return report


def write_market(path: Path, *, seconds: float, seed: int = 5, funding_interval_s: int = 20) -> None:
    """A small recording of quotes and trades of the local market, with funding inside."""
    facts = known_instrument("BTCUSDT")
    instrument = type(facts)(
        **{name: getattr(facts, name) for name in facts.__struct_fields__ if name != "funding_interval_s"},
        funding_interval_s=funding_interval_s,
    )
    market = LocalMarket(settings=LocalSettings(history_bars=0), instrument=instrument, seed=seed, interval_s=1)
    events: list[MarketEvent] = []
    for tick, event in live_events(market, after=0):
        if tick * TICK_NS > seconds * 1_000_000_000:
            break
        events.append(type(event)(**{**_fields(event), "ts_ns": START_NS + tick * TICK_NS}))
    origin = Origin(instruments=(instrument,), interval_s=0, sources=())
    write_recording(path, events, origin=origin)


def _fields(event: MarketEvent) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__struct_fields__}
