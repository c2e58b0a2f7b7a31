"""`agora market`: what it prints, what it refuses and how, and that a refusal leaves nothing behind."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agora.session.folder import read_json
from tests.cli.commands import Answer, call, stored_run
from tests.scenarios.processes import only_run

SMALL = (
    *("--assets", "ARBO:200", "--assets", "BRIO:150", "--agents", "market_maker=2", "--agents", "fomo=1"),
    *("--population", "100", "--tick", "max"),
)


def market(home: Path, *arguments: str, **environment: str) -> Answer:
    """A small market without its API."""
    return call(home, ["market", *SMALL, "--no-server", *arguments], environment)


def runs_of(home: Path) -> list[str]:
    """Names in the folder of runs."""
    return sorted(path.name for path in (home / "runs").iterdir()) if (home / "runs").exists() else []


def test_a_market_ends_with_its_report(home: Path) -> None:
    """In words for people, as one object for programs; the same facts as in the run's folder."""
    said = market(home, "--ticks", "30", "--seed", "7")
    assert said.code == 0, said.err
    assert "completed (duration)" in said.out
    assert "ticks 30" in said.out
    folder = only_run(home)
    assert f"report: {folder / 'report.html'}" in said.out
    report = read_json(folder / "final_report.json")
    assert report["symbols"] == ["ARBO", "BRIO"]
    assert [agent["id"] for agent in report["agents"]] == ["market_maker-1", "market_maker-2", "fomo-1"]
    again = market(home, "--ticks", "30", "--seed", "7", "--json").facts
    assert (again["state_hash"], again["trades_digest"]) == (report["state_hash"], report["trades_digest"])
    other = market(home, "--ticks", "30", "--seed", "8", "--json").facts
    assert other["trades_digest"] != report["trades_digest"]


def test_replay_verify_and_report_know_a_market(home: Path) -> None:
    """The commands that look back take a market as any run."""
    assert market(home, "--ticks", "20").code == 0
    assert call(home, ["verify", "latest"]).code == 0
    assert call(home, ["replay", "latest"]).code == 0
    (only_run(home) / "final_report.json").unlink()
    assert call(home, ["verify", "latest"]).code == 1
    assert call(home, ["report", "latest"]).code == 0
    assert call(home, ["verify", "latest"]).code == 0


@pytest.mark.parametrize(
    "arguments,words",
    [
        (("--assets", "ARBO:1"), ["ARBO is listed twice"]),
        (("--assets", "ARBO:1", "--agents", "fomo"), ["ARBO is listed twice", "PERSONA=COUNT"]),
        (("--agents", "dca=1000"), ["more than 1000"]),
        (("--agents", "wizard=1", "--agents", "oracle=1"), ["no persona wizard, oracle", "market_maker"]),
        (("--population", "10001", "--tick", "soon", "--ticks", "-1"), ["population", "market.tick ", "market.ticks"]),
        (("--model", "gpt"), ["llm.base_url"]),
        (("--set", "market.news_file=/nowhere/news.json"), ["cannot read the news file /nowhere/news.json"]),
        (("--set", "market.ledger_url=mysql://u:hidden@h/d"), ["the ledger's URL"]),
        (("--set", "market.colour=red"), ["market.colour"]),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_made(
    arguments: tuple[str, ...], words: list[str], home: Path
) -> None:
    """Exit 2, each fault named, no run folder, no secret."""
    said = market(home, "--ticks", "5", *arguments)
    assert said.code == 2, said
    for word in words:
        assert word in said.err
    assert "hidden" not in said.err
    assert runs_of(home) == []


def test_a_bad_news_file_is_refused_naming_the_line(home: Path, tmp_path: Path) -> None:
    """Exit 2 and the place; nothing is started."""
    path = tmp_path / "news.json"
    path.write_text(json.dumps([{"what": "news", "tick": 3, "text": "x"}, {"what": "news", "tick": 3, "tone": 2}]))
    said = market(home, "--ticks", "5", "--set", f"market.news_file={path}")
    assert said.code == 2
    assert "$[1]" in said.err
    assert runs_of(home) == []


def test_news_come_from_the_file_and_stay_in_the_folder(home: Path, tmp_path: Path) -> None:
    """The run keeps its schedule: the file may change or go afterwards."""
    path = tmp_path / "news.json"
    path.write_text(json.dumps([{"what": "news", "tick": 3, "text": "a find", "tone": 0.5}]))
    assert market(home, "--ticks", "5", "--set", f"market.news_file={path}").code == 0
    path.unlink()
    assert call(home, ["replay", "latest"]).code == 0
    assert read_json(only_run(home) / "final_report.json")["news"] == 1
    assert "a find" in (only_run(home) / "report.html").read_text()


@pytest.mark.parametrize(
    "settings,environment,code",
    [
        ({"llm.cassette": "{tmp}/broken", "llm.cassette_mode": "replay"}, {}, 2),
        ({"llm.cassette": "{tmp}/missing", "llm.cassette_mode": "replay"}, {}, 2),
        ({"llm.base_url": "http://example.com/v1"}, {"AGORA_LLM__API_KEY": "hidden-key"}, 2),
    ],
)
def test_models_that_cannot_be_asked_are_refused_before_anything_is_made(
    settings: dict[str, str], environment: dict[str, str], code: int, home: Path, tmp_path: Path
) -> None:
    """A broken or missing cassette, a key that would travel in the clear: exit 2 and no run folder."""
    (tmp_path / "broken").write_text("no cassette\n")
    pairs = [f"{key}={value.format(tmp=tmp_path)}" for key, value in settings.items()]
    said = market(
        home, "--ticks", "5", "--model", "m", *(word for pair in pairs for word in ("--set", pair)), **environment
    )
    assert said.code == code, said
    assert "hidden-key" not in said.out + said.err
    assert runs_of(home) == []


def test_a_name_without_resume_is_a_usage_fault(home: Path) -> None:
    """So that a mistyped flag starts no market."""
    said = market(home, "latest")
    assert said.code == 2
    assert runs_of(home) == []


def test_what_is_no_stopped_market_is_not_resumed(home: Path) -> None:
    """No run, a run that has ended, a run of `agora run`: each refused with its code and why."""
    said = call(home, ["market", "--resume", "--no-server"])
    assert said.code == 2
    assert market(home, "--ticks", "5").code == 0
    said = call(home, ["market", "--resume", "--no-server"])
    assert (said.code, "has ended" in said.err) == (3, True)
    assert call(
        home, ["run", "--duration", "0.02", "--seed", "1", "--set", "local.history_bars=0", "--quiet"]
    ).code in (0, 5)
    said = call(home, ["market", "--resume", "--no-server"])
    assert said.code in (2, 3), said
    assert "agora run --resume" in said.err


def test_a_run_without_a_journal_is_not_resumed(home: Path) -> None:
    """A folder that holds settings only cannot be continued: exit 3."""
    stored_run(home, "20260101T000000Z-market-aa", report=None)
    said = call(home, ["market", "--resume", "20260101T000000Z-market-aa", "--no-server"])
    assert said.code in (2, 3)


def test_a_folder_that_is_not_empty_is_no_run_folder(home: Path, tmp_path: Path) -> None:
    """`--run-dir` on somebody's files is refused with 3."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    said = market(home, "--ticks", "5", "--run-dir", str(tmp_path / "mine"))
    assert said.code == 3
    assert "not empty" in said.err
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["letter.txt"]


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port of this machine on which somebody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_taken_port_is_refused(taken_port: int, home: Path) -> None:
    """Exit 3 with the address; it is no bug of ours."""
    said = call(home, ["market", *SMALL, "--ticks", "5", "--port", str(taken_port)])
    assert said.code == 3, said
    assert str(taken_port) in said.err
    assert "bug" not in said.err


def test_a_market_with_its_api_ends_as_one_without(home: Path) -> None:
    """The API changes nothing: the same state at the end, and it is gone."""
    served = call(home, ["market", *SMALL, "--ticks", "30", "--seed", "7", "--port", "0", "--json"])
    assert served.code == 0, served.err
    alone: dict[str, Any] = market(home, "--ticks", "30", "--seed", "7", "--json").facts
    assert served.facts["state_hash"] == alone["state_hash"]


def test_a_password_of_the_ledger_is_in_no_file(home: Path) -> None:
    """A database that is not there: the run ends well, says that its ledger is incomplete, and shows no password."""
    url = "postgresql://me:hidden-word@127.0.0.1:1/none"
    said = market(home, "--ticks", "20", AGORA_MARKET__LEDGER_URL=url)
    assert said.code == 0, said.err
    assert "hidden-word" not in said.out + said.err
    for path in only_run(home).iterdir():
        assert b"hidden-word" not in path.read_bytes(), path.name


def test_a_market_has_nothing_to_flatten_and_no_breaker_to_reset(home: Path) -> None:
    """`flatten` says why not; `reset` removes a kill file and leaves the journal alone."""
    assert market(home, "--ticks", "5").code == 0
    refused = call(home, ["flatten", "latest"])
    assert refused.code == 2
    assert "is a market" in refused.err
    journal = (only_run(home) / "events.jsonl").read_bytes()
    (home / "kill.txt").write_text("enough")
    assert call(home, ["reset", "latest"]).code == 0
    assert not (home / "kill.txt").exists()
    assert (only_run(home) / "events.jsonl").read_bytes() == journal
