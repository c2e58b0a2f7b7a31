"""The long version of the survival proofs: `python -m tests.bitunix.soak` (or `make soak`).

Seeds of random faults and crashes in virtual time, SIGKILLs of a real process beside a real testnet process, fuzzing,
bugs planted. Leaves what it counted in a folder, for `tools/reliability.py take soak FOLDER`; exit code 1 when anything
was violated.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bitunix.stories import judged
from tests.scenarios.processes import ROOT, agora, environment, only_run, report_of
from tests.venues.bitunix.test_fuzz import fuzz

CHUNK = 25
# One life story of a real process: so long a run, killed so often, each time within so many seconds of its start.
RUN_MINUTES, KILLS_EACH, KILL_WITHIN_S = "0.15", 3, 4.0
# Every gate of the trader open, so that it orders at most bars.
LIVELY = ("--interval", "1s", "--set", "trend.cost_risk_max=20", "--set", "trend.reward_risk_min=0")


def chunk(first: int, count: int, folder: str) -> list[str]:
    """Play a part of the seeds and leave its figures; the failures."""
    figures, failures = judged(range(first, first + count))
    Path(folder, f"seeds-{first:06d}.json").write_text(json.dumps(figures.as_part()))
    return failures


def play_seeds(first: int, count: int, *, jobs: int, folder: Path) -> list[str]:
    """All seeds, in so many processes; progress on standard error."""
    starts = range(first, first + count, CHUNK)
    failures: list[str] = []
    with ProcessPoolExecutor(jobs) as pool:
        done = pool.map(chunk, starts, (min(CHUNK, first + count - at) for at in starts), [str(folder)] * len(starts))
        for number, found in enumerate(done, start=1):
            failures += found
            sys.stderr.write(f"seeds {min(number * CHUNK, count)} of {count}, {len(failures)} with violations\n")
    return failures


@contextmanager
def testnet(seed: int) -> Iterator[dict[str, Any]]:
    """A testnet process of its own."""
    command = [sys.executable, "-m", "agora", "testnet", "bitunix", "--port", "0", "--seed", str(seed)]
    child = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        env=environment(Path(tempfile.gettempdir())),
    )
    try:
        assert child.stdout is not None
        yield json.loads(child.stdout.readline())
    finally:
        child.terminate()
        child.wait(timeout=10)


def killed_story(seed: int, folder: Path) -> tuple[dict[str, int], list[str]]:
    """One run with several SIGKILLs and resumptions against a venue that goes on; counts and violations."""
    draw = random.Random(seed)
    kills = 0
    with tempfile.TemporaryDirectory() as name, testnet(seed) as said:
        home = Path(name)
        line = home / "announce.json"
        line.write_text(json.dumps(said))
        start = ["run", "--testnet", str(line), "--mode", "live", "--duration", RUN_MINUTES, *LIVELY, "--quiet"]
        again = ["run", "--resume", "--quiet"]
        for _ in range(KILLS_EACH):
            has_begun = any((home / "runs").glob("*/events.jsonl")) if (home / "runs").exists() else False
            kills += _killed(home, again if has_begun else start, within_s=1.0 + draw.random() * KILL_WITHIN_S)
        has_begun = any((home / "runs").glob("*/events.jsonl"))
        done = agora(home, *(again if has_begun else start))
        with urllib.request.urlopen(f"{said['control']}/ledger", timeout=10) as answer:  # noqa: S310  announced here
            ledger = json.load(answer)
        wrong = [f"kill story {seed}: {text}" for text in _wrong(home, done, ledger)]
    counts = {"sigkills": kills, "orders": len(ledger["orders"]), "violations": len(wrong)}
    (folder / f"kills-{seed:05d}.json").write_text(json.dumps(counts))
    return counts, wrong


def _killed(home: Path, arguments: Sequence[str], *, within_s: float) -> int:
    """Start a life and kill it at that time; 1 if it was still alive."""
    command = [sys.executable, "-m", "agora", *arguments]
    life = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT, env=environment(home)
    )
    try:
        life.wait(timeout=within_s)
    except subprocess.TimeoutExpired:
        life.kill()
        life.wait()
        return 1
    return 0


def _wrong(home: Path, done: subprocess.CompletedProcess[str], ledger: dict[str, Any]) -> Iterator[str]:
    """What does not hold after the last life: flat on both sides, the same money, no order twice."""
    report = report_of(only_run(home))
    account = ledger["accounts"][0]
    if done.returncode not in (0, 3) or report["exit_code"] != 0:
        yield f"exit {done.returncode}, report {report['exit_code']} ({report['stopped_reason']}): {done.stderr[-300:]}"
    if not report["flat"] or any(account["net_lots"].values()) or account["open_orders"]:
        yield f"not flat: {report['residual']}, the venue has {account['net_lots']} and {account['open_orders']}"
    if report["equity_end"] != account["cash"]:
        yield f"we say {report['equity_end']}, the venue {account['cash']}"
    yield from (
        f"{note['client_id']} was taken {note['times_accepted']} times"
        for note in ledger["orders"]
        if note["times_accepted"] > 1
    )
    if agora(home, "verify").returncode or agora(home, "replay").returncode:
        yield "the journal does not verify or does not replay"


def main() -> None:
    """Everything, by counts from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10_000, help="stories in virtual time")
    parser.add_argument("--first", type=int, default=100_001, help="the first seed")
    parser.add_argument("--kills", type=int, default=300, help="SIGKILLs of a real process")
    parser.add_argument("--fuzz", type=int, default=1_000_000, help="rounds at the parsers")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--out", type=Path, default=ROOT / "var" / "soak", help="where the figures go")
    wanted = parser.parse_args()
    wanted.out.mkdir(parents=True, exist_ok=True)
    failures = play_seeds(wanted.first, wanted.seeds, jobs=wanted.jobs, folder=wanted.out) if wanted.seeds else []
    kills, seed = 0, wanted.first
    while kills < wanted.kills:
        counts, wrong = killed_story(seed, wanted.out)
        kills, seed = kills + counts["sigkills"], seed + 1
        failures += wrong
        sys.stderr.write(f"SIGKILLs {kills} of {wanted.kills}, {len(failures)} violations\n")
    if wanted.fuzz:
        fuzz(wanted.fuzz, seed=wanted.first)
        (wanted.out / "fuzz.json").write_text(json.dumps({"fuzz_inputs": wanted.fuzz}))
    sys.stderr.write("\n".join(failures) + ("\n" if failures else "nothing was violated\n"))
    raise SystemExit(bool(failures))


if __name__ == "__main__":
    main()
