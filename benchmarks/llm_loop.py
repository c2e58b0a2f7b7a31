"""Times ticks of a market whose personas ask a model over HTTP: one that takes a second, and one that never answers."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.market import watched_apart

LATENCY_S = 1.0
# One of each persona; 200 of them.
FEW = "conservative,momentum,panic,value,contrarian,fomo,algorithmic,day_trader,whale,market_maker,rumor_monger,dca"
MANY = "momentum=50,value=50,contrarian=50,market_maker=50"
CONCURRENCY = 50
# What a dead model may take of each tick, however many questions wait for it.
DEADLINE_MS = 500
TICKS_FEW = 20
TICKS_MANY = 6
TICKS_DEAD = 20


@contextlib.contextmanager
def _model(scratch: Path, *words: str) -> Iterator[str]:
    """The base URL of the loopback model in a process of its own."""
    command = [sys.executable, "-m", "agora", "testnet", "llm", *words]
    log = scratch / "model.log"
    with log.open("wb") as file, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["urls"]["openai"]
        finally:
            process.terminate()


def _ticks(home: Path, url: str, *pairs: str) -> dict[str, Any]:
    """Milliseconds of each tick with its questions, and what came of them."""
    seen = watched_apart(
        home,
        [
            "market.tick=max",
            "llm.model=agora-persona-1",
            f"llm.base_url={url}",
            "llm.allow_unknown_price=true",
            f"llm.concurrency={CONCURRENCY}",
            *pairs,
        ],
    )
    gaps_ms = sorted(seen["gaps_ms"])
    return {
        "agents": seen["agents"],
        "ticks": len(gaps_ms),
        "tick_ms_p50": round(gaps_ms[len(gaps_ms) // 2], 1),
        "tick_ms_max": round(gaps_ms[-1], 1),
        "outcomes": seen["outcomes"],
    }


def llm_figures(scratch: Path) -> dict[str, Any]:
    """Ticks of 12 and 200 personas with a model of 1 s, and of both with a model that accepts and never answers."""
    home = scratch / "llm-home"
    few = "market.agents=" + ",".join(f"{name}=1" for name in FEW.split(","))
    many = f"market.agents={MANY}"
    watched_apart(home, ["market.tick=max", "market.ticks=2"])
    with _model(scratch, "--latency", str(LATENCY_S)) as url:
        patient = "llm.deadline_ms=10000"
        slow_few = _ticks(home, url, few, patient, f"market.ticks={TICKS_FEW}")
        slow_many = _ticks(home, url, many, patient, f"market.ticks={TICKS_MANY}")
    plan = scratch / "silent.json"
    plan.write_text('[{"fault": "model_silent"}]', encoding="utf-8")
    with _model(scratch, "--faults", str(plan)) as url:
        impatient = (f"llm.deadline_ms={DEADLINE_MS}", f"market.ticks={TICKS_DEAD}")
        dead_few = _ticks(home, url, few, *impatient)
        dead_many = _ticks(home, url, many, *impatient)
    for dead in (dead_few, dead_many):
        assert not {"ok", "repaired"} & set(dead["outcomes"]), dead["outcomes"]
        dead["beyond_deadline_ms_max"] = round(dead["tick_ms_max"] - DEADLINE_MS, 1)
    return {
        "model_latency_s": LATENCY_S,
        "personas_12": slow_few,
        "personas_200_concurrency_50": slow_many,
        "dead_model_deadline_ms": DEADLINE_MS,
        "personas_12_dead_model": dead_few,
        "personas_200_dead_model": dead_many,
    }
