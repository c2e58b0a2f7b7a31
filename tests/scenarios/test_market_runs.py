"""Whole market runs: replayed to the bit, killed at any moment and taken up again, stopped in every way there is."""

from __future__ import annotations

import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agora import audit, launch, market_launch
from agora.domain.errors import StartFault
from agora.domain.events import ROLES, Role, RunResumed
from agora.domain.market_events import LlmAnswered, NewsArrived, Shock
from agora.journal.disk import Disk
from agora.journal.reader import read_records
from agora.journal.replay import replay
from agora.lookback import rebuilt
from agora.session.folder import Home
from tests.cli.commands import call
from tests.market.markets import FLAGS, settings
from tests.scenarios.market_lives import Ending, Lives, LocalModel
from tests.scenarios.processes import Running, agora, environment, only_run, report_of

TICKS = 40
SCHEDULE = [
    *({"what": "news", "tick": tick, "text": f"item {tick}", "tone": 0.5} for tick in range(2, TICKS, 2)),
    {"what": "shock", "tick": 20, "symbol": "ARBO", "fraction": -0.1, "cause": "a mine is flooded"},
    {"what": "news", "tick": 20, "text": "flood", "tone": -0.9, "symbols": ["ARBO"]},
]
SCHEDULE_TEXT = json.dumps(SCHEDULE).encode()
SHORT = {"market__ticks": TICKS, "market__order_capacity": 256}
# Five milliseconds to a tick: a second or two of real time in which to die.
PROCESS = {**FLAGS, "market.ticks": 500, "market.tick": "0.005"}


def words(flags: dict[str, Any], **changes: Any) -> tuple[str, ...]:
    """The settings as arguments of the command."""
    pairs = flags | {name.replace("__", "."): value for name, value in changes.items()}
    texts = (f"{key}={','.join(value) if isinstance(value, list) else value}" for key, value in pairs.items())
    return ("--no-server", *(word for text in texts for word in ("--set", text)))


def options_of(home: Path) -> launch.Options:
    """A run without a word on the terminal."""
    return launch.Options(home=Home(home), run_dir=None, is_quiet=True, is_json_logs=False)


def replayed_ending(lives: Lives) -> Ending:
    """What the journal of some lives leads to, from its first record."""
    records = lives.records()
    run = rebuilt(lives.folder, records[0], metrics=lives.folder / "again.csv")
    found = replay(run.subject, records)
    run.collector.close()
    assert found.divergence is None, found.divergence
    assert not found.pending
    assert isinstance(run, market_launch.MarketLookback)
    return Ending.of(run.market)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ending, int]:
    """How the short market ends that nothing happens to, and its disk operations."""
    lives = Lives(tmp_path_factory.mktemp("unbroken"), settings(**SHORT), schedule=SCHEDULE_TEXT)
    ending = lives.play([])
    assert ending is not None
    assert ending.trades > 50
    return ending, lives.disk.operations


def check_lives(lives: Lives, crashes: list[int], *, expected: Ending) -> bool:
    """Play and compare; False when the crash came before the run had begun."""
    told = f"crashes at operations {crashes}"
    ending = lives.play(list(crashes))
    if ending is None:
        return False
    assert ending == expected, told
    assert replayed_ending(lives) == expected, told
    events = [record.event for record in lives.records()]
    told_news = [event.text for event in events if isinstance(event, NewsArrived)]
    scheduled = sorted((line for line in SCHEDULE if line["what"] == "news"), key=lambda line: int(str(line["tick"])))
    assert told_news == [line["text"] for line in scheduled], told
    assert [event.cause for event in events if isinstance(event, Shock)] == ["a mine is flooded"], told
    return True


@pytest.mark.parametrize("first", range(1, 41, 10))
def test_a_market_that_dies_ends_as_one_that_does_not(first: int, unbroken: tuple[Ending, int], tmp_path: Path) -> None:
    """One to four crashes at seeded disk operations with lost and torn bytes: equal trades, state and news."""
    expected, operations = unbroken
    resumed = restored = 0
    for seed in range(first, first + 10):
        draw = random.Random(seed)
        lives = Lives(tmp_path / str(seed), settings(**SHORT), schedule=SCHEDULE_TEXT, seed=seed)
        crashes = [draw.randint(1, operations) for _ in range(draw.randint(1, 4))]
        try:
            check_lives(lives, crashes, expected=expected)
        except BaseException as failure:
            failure.add_note(f"seed {seed}")
            raise
        resumed += lives.lives
        restored += lives.restored
    assert resumed >= 10, "the seeds of this test kill nobody"
    assert restored >= 3, "the seeds of this test meet no checkpoint"


def test_no_disk_operation_is_a_bad_one_to_die_at(unbroken: tuple[Ending, int], tmp_path: Path) -> None:
    """A crash at every third operation of the short run, checkpoints included."""
    expected, operations = unbroken
    begun = 0
    for operation in range(1, operations + 1, 3):
        lives = Lives(tmp_path / str(operation), settings(**SHORT), schedule=SCHEDULE_TEXT, seed=operation)
        begun += check_lives(lives, [operation], expected=expected)
    assert begun >= operations // 3 - 3


def test_a_market_with_models_dies_and_ends_as_one_that_does_not(tmp_path: Path) -> None:
    """Answers that were not on the disk are asked for again; the same model gives the same market."""
    config = settings(**SHORT, llm__model="m", llm__base_url="http://127.0.0.1:1/v1", llm__allow_unknown_price="true")
    calm = Lives(tmp_path / "calm", config, schedule=SCHEDULE_TEXT, completer=LocalModel())
    expected = calm.play([])
    assert expected is not None
    answered = sum(isinstance(record.event, LlmAnswered) for record in calm.records())
    assert answered == TICKS * 6
    for seed in range(1, 9):
        draw, model = random.Random(seed), LocalModel()
        lives = Lives(tmp_path / str(seed), config, schedule=SCHEDULE_TEXT, seed=seed, completer=model)
        crashes = [draw.randint(5, calm.disk.operations) for _ in range(2)]
        if check_lives(lives, crashes, expected=expected):
            assert sum(isinstance(record.event, RunResumed) for record in lives.records()) >= 1, f"seed {seed}"
            assert model.asked >= answered, f"seed {seed}"


def cut(lives: Lives, *, after: int) -> None:
    """Let the journal end with that record, and no checkpoint remain."""
    for name in lives.disk.names():
        if name.startswith("checkpoint-"):
            lives.disk.delete(name)
        elif name.endswith(".jsonl"):
            lines = lives.disk.read(name).splitlines(keepends=True)
            lives.disk.damage(name, b"".join(line for line in lines if json.loads(line)["seq"] <= after))


@pytest.mark.parametrize("first", range(1, 31, 10))
def test_a_journal_that_ends_at_any_record_is_gone_on_with(first: int, tmp_path: Path) -> None:
    """Also between an input and what was decided on it: that is decided again, recorded, and nothing differs."""
    config = settings(**SHORT, llm__model="m", llm__base_url="http://127.0.0.1:1/v1", llm__allow_unknown_price="true")
    calm = Lives(tmp_path / "calm", config, schedule=SCHEDULE_TEXT, completer=LocalModel())
    expected = calm.play([])
    records = calm.records()
    outputs = {record.seq for record in records if ROLES[type(record.event)] is Role.OUTPUT}
    halves = 0
    for seed in range(first, first + 10):
        after = random.Random(seed).randint(2, len(records) - 1)
        halves += after + 1 in outputs
        lives = Lives(tmp_path / str(seed), config, schedule=SCHEDULE_TEXT, completer=LocalModel())
        for name in ("events.jsonl", "market.jsonl"):
            lives.disk.damage(name, calm.disk.read(name))
        cut(lives, after=after)
        lives.lives = 1
        assert lives.play([]) == expected, f"seed {seed}: cut after record {after}"
        assert replayed_ending(lives) == expected, f"seed {seed}: cut after record {after}"
    assert halves >= 3, "the seeds of this test cut between ticks only"


def test_a_damaged_checkpoint_is_passed_over(unbroken: tuple[Ending, int], tmp_path: Path) -> None:
    """Without the newest or without any usable checkpoint a resume replays more and ends the same."""
    expected, operations = unbroken
    for damaged in (1, 2):
        lives = Lives(tmp_path / str(damaged), settings(**SHORT), schedule=SCHEDULE_TEXT)
        crash, names = operations - 3, list[str]()

        def spoil(lives: Lives = lives, damaged: int = damaged, names: list[str] = names) -> None:
            names += sorted((n for n in lives.disk.names() if n.startswith("checkpoint-")), reverse=True)
            for name in names[:damaged]:
                content = lives.disk.read(name)
                lives.disk.damage(name, content.replace(b'"state"', b'"stale"', 1))

        lives.between = spoil
        assert lives.play([crash]) == expected
        assert len(names) == 2
        assert replayed_ending(lives) == expected


@pytest.fixture(scope="module")
def long_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a market of 2,000 ticks with news and a shock, run to its end."""
    home = tmp_path_factory.mktemp("long")
    news = home / "news.json"
    news.write_bytes(SCHEDULE_TEXT)
    config = settings(market__ticks=2_000, market__news_file=str(news))
    outcome = market_launch.run_market(config, options_of(home), market_launch.Company())
    assert outcome.exit_code == 0, outcome.report
    return home


@pytest.fixture
def copied(long_run: Path, tmp_path: Path) -> Path:
    """A copy of that home, to be touched."""
    home = tmp_path / "home"
    shutil.copytree(long_run, home, symlinks=True)
    return home


def test_two_thousand_ticks_are_replayed_to_the_bit(long_run: Path) -> None:
    """Every decision, the state hash and every figure of the report are found again from the journal."""
    folder = only_run(long_run)
    verdict = audit.replay_run(folder)
    assert verdict["identical"], verdict["differences"]
    assert verdict["report_compared"]
    assert verdict["decisions_compared"] == 2_001
    assert audit.verify_run(folder)["faults"] == []
    report = report_of(folder)
    assert (report["ticks"], report["news"], report["shocks"]) == (2_000, 20, 1)
    assert report["trades"] > 500


def test_the_report_is_rebuilt_to_the_byte(copied: Path) -> None:
    """`agora report` gives the files that the run itself has written."""
    folder = only_run(copied)
    kept = {name: (folder / name).read_bytes() for name in ("final_report.json", "metrics.csv", "report.html")}
    for name in kept:
        (folder / name).unlink()
    audit.report_run(folder)
    assert {name: (folder / name).read_bytes() for name in kept} == kept


def test_two_thousand_ticks_are_the_same_in_other_surroundings(long_run: Path) -> None:
    """Replayed with other hash seeds, time zones and locales; no decision, no figure differs."""
    for more in (
        {"PYTHONHASHSEED": "1", "TZ": "Pacific/Kiritimati"},
        {"PYTHONHASHSEED": "2", "TZ": "America/St_Johns", "LC_ALL": "C"},
    ):
        done = agora(long_run, "replay", "latest", "--json", **more)
        assert done.returncode == 0, (more, done.stdout, done.stderr)
        assert json.loads(done.stdout)["identical"] is True


def test_another_process_runs_the_same_market(long_run: Path, tmp_path: Path) -> None:
    """The same settings in a process with another hash seed end in the same state: a run is its settings."""
    news = tmp_path / "news.json"
    news.write_bytes(SCHEDULE_TEXT)
    arguments = words(FLAGS, market__ticks=2_000, market__news_file=str(news))
    done = agora(tmp_path, "market", *arguments, "--json", PYTHONHASHSEED="11", TZ="Asia/Kathmandu")
    assert done.returncode == 0, done.stderr
    report, expected = json.loads(done.stdout), report_of(only_run(long_run))
    for name in ("trades_digest", "state_hash", "trades", "agents", "per_symbol"):
        assert report[name] == expected[name], name


@pytest.mark.parametrize(
    "name,change",
    [
        ("trades", 1),
        ("ticks", 1),
        ("news", 1),
        ("shocks", -1),
        ("requests", 10),
        ("state_hash", "0" * 64),
        ("trades_digest", "0" * 64),
        ("agents", []),
    ],
)
def test_a_changed_report_is_found(name: str, change: Any, copied: Path) -> None:
    """Any figure of the report that the journal does not give is named by `verify` and by `replay`."""
    folder = only_run(copied)
    report = report_of(folder)
    report[name] = report[name] + change if isinstance(change, int) else change
    (folder / "final_report.json").write_bytes(msgspec.json.encode(report))
    verdict = audit.verify_run(folder)
    assert not verdict["good"]
    assert any(name in fault for fault in verdict["faults"]), verdict["faults"]
    assert not audit.replay_run(folder)["identical"]


@pytest.mark.parametrize("name", ["events.jsonl", "market.jsonl"])
def test_a_changed_journal_is_found(name: str, copied: Path) -> None:
    """A flipped byte in the middle: `verify` names the file and exits 1."""
    path = only_run(copied) / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    done = agora(copied, "verify", "latest")
    assert done.returncode == 1
    assert name in done.stdout + done.stderr


def test_a_forged_decision_does_not_replay(tmp_path: Path) -> None:
    """A journal whose chain is sound but whose prices are not those of its ticks diverges at that record."""
    lives = Lives(tmp_path, settings(**SHORT))
    lives.play([])
    records = lives.records()
    place = next(n for n, record in enumerate(records) if getattr(record.event, "tick", 0) == 9)
    forged = msgspec.structs.replace(records[place].event, trades=99)
    records[place] = msgspec.structs.replace(records[place], event=forged)
    run = rebuilt(lives.folder, records[0], metrics=tmp_path / "again.csv")
    found = replay(run.subject, records)
    run.collector.close()
    assert found.divergence is not None
    assert found.divergence.seq == records[place].seq


def rows_of(folder: Path) -> tuple[int, int, bool]:
    """Transactions and interactions in the ledger, and whether it calls itself complete."""
    with sqlite3.connect(folder / "ledger.sqlite") as ledger:
        transactions = ledger.execute("SELECT COUNT(*) FROM transactions").fetchone()[0]
        interactions = ledger.execute("SELECT COUNT(*) FROM interactions").fetchone()[0]
        is_complete = ledger.execute("SELECT complete FROM runs").fetchone()[0]
    ledger.close()
    return transactions, interactions, bool(is_complete)


def test_a_market_killed_thrice_goes_on_to_the_same_end(tmp_path: Path) -> None:
    """SIGKILL at seeded moments, `--resume` each time: the end, the ledger and the replay are those of a calm run."""
    draw = random.Random(5)
    calm = Lives(tmp_path / "calm", settings(market__ticks=500, market__tick="0.005"))
    expected = calm.play([])
    assert expected is not None
    home = tmp_path / "home"
    run = Running(home, *words(PROCESS), command="market")
    for _ in range(3):
        run.wait_for("run.")
        run.watch(draw.uniform(0.2, 0.9))
        run.kill()
        run = Running(home, "--resume", "--no-server", command="market")
    assert run.wait() == 0, run.said.decode()[-2_000:]
    folder = only_run(home)
    report = report_of(folder)
    found = Ending(report["ticks"], report["trades"], report["trades_digest"], report["state_hash"])
    assert found == expected
    assert sum(isinstance(record.event, RunResumed) for record in read_records(Disk(folder))) == 3
    assert audit.verify_run(folder)["faults"] == []
    assert audit.replay_run(folder)["differences"] == []
    assert rows_of(folder)[0] == expected.trades
    assert rows_of(folder)[2]


@pytest.mark.parametrize("number,code,reason", [(signal.SIGINT, 130, "SIGINT"), (signal.SIGTERM, 143, "SIGTERM")])
def test_a_signal_ends_a_market_in_order(number: int, code: int, reason: str, tmp_path: Path) -> None:
    """The exit code of the signal, a report, a sound journal; an ended run is not resumed."""
    run = Running(tmp_path, *words(PROCESS, market__ticks=0, market__tick="0.02"), command="market")
    run.wait_for("run.started")
    run.watch(0.5)
    run.signal(number)
    assert run.wait() == code
    report = report_of(only_run(tmp_path))
    assert (report["stopped_reason"], report["exit_code"], report["status"]) == (reason, code, "stopped")
    assert audit.verify_run(only_run(tmp_path))["good"]
    with pytest.raises(StartFault, match="has ended"):
        market_launch.resume_market(only_run(tmp_path), options_of(tmp_path), market_launch.Company())


@pytest.mark.parametrize("place", ["home", "run"])
def test_a_kill_file_ends_a_market(place: str, tmp_path: Path) -> None:
    """Exit 4 within a second, its text is the reason. While it runs, its folder is nobody else's."""
    run = Running(tmp_path, *words(PROCESS, market__ticks=0, market__tick="0.02"), command="market")
    run.wait_for("run.started")
    folder = only_run(tmp_path)
    with pytest.raises(StartFault, match="in use by another run"):
        market_launch.resume_market(folder, options_of(tmp_path), market_launch.Company())
    before_s = time.monotonic()
    (tmp_path if place == "home" else folder).joinpath("kill.txt").write_text("the prices look wrong")
    run.wait_for("operator.command", 5)
    assert time.monotonic() - before_s < 1.0
    assert run.wait() == 4
    report = report_of(folder)
    assert (report["stopped_reason"], report["exit_code"]) == ("the prices look wrong", 4)


def test_a_stopped_market_has_completed(tmp_path: Path) -> None:
    """`agora stop` ends it with code 0, as an ending that was wanted."""
    run = Running(tmp_path, *words(PROCESS, market__ticks=0, market__tick="0.02"), command="market")
    run.wait_for("run.started")
    run.watch(1.0)
    assert call(tmp_path, ["stop", "latest"]).code == 0
    assert run.wait() == 0, run.said.decode()[-2_000:]
    assert report_of(only_run(tmp_path))["status"] == "completed"


@pytest.mark.requirement("R5")
def test_a_market_of_rules_imports_no_model_library(tmp_path: Path) -> None:
    """After a whole run neither litellm nor openai is among the modules of the process."""
    code = (
        "import sys\n"
        "from agora.cli.app import app\n"
        "try:\n"
        "    app(sys.argv[1:])\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0, end.code\n"
        "found = {name.partition('.')[0] for name in sys.modules} & {'litellm', 'openai', 'langchain'}\n"
        "assert not found, found\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "market", *words(FLAGS, market__ticks=50)],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert report_of(only_run(tmp_path))["ticks"] == 50
