"""What a person sees: a line a second, the same facts as JSON where asked, and log lines that are worth reading."""

from __future__ import annotations

import json
import logging
import stat
from pathlib import Path

import pytest

from agora.domain.events import FeedMalformed, OperatorCommand, OrderRefused, RunEnded, Timer
from agora.domain.numbers import NS_PER_S
from agora.engine.ports import Halt
from agora.session.terminal import JsonLines, LogTeller, Progress, open_log_file, progress_facts, progress_text
from tests.engine.desks import PRICE, Play


class Ticking:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        """The time."""
        return self.ns


def traded_play() -> Play:
    """A minute and a half into ten minutes, long 0.01 BTC with an open profit of ten cents."""
    play = Play(duration_s=600)
    play.hold(10)
    play.quote(PRICE + 100, after_s=29)
    play.tell(Timer, 0.25)
    return play


@pytest.mark.requirement("B25")
def test_the_progress_line_has_what_an_operator_wants_to_know() -> None:
    """Elapsed and remaining time, equity, position, price and the age of the feed."""
    facts = progress_facts(traded_play().desk)
    assert facts == {
        "phase": "running",
        "elapsed_s": 89,
        "remaining_s": 510,
        "equity": "10000.10",
        "symbol": "BTCUSDT",
        "position": "0.010",
        "price": "60010.0",
        "feed_age_ms": 250,
        "trades": 0,
        "orders": 1,
        "refused": 0,
        "events": 2,
    }
    text = progress_text(facts)
    for word in ("running", "00:01:29", "00:08:30 left", "10000.10", "0.010 @ 60010.0", "feed 250 ms"):
        assert word in text


@pytest.mark.parametrize(
    "seconds, text", [(0, "00:00:00"), (59, "00:00:59"), (3_600, "01:00:00"), (90_061, "1d 01:01:01")]
)
def test_times_read_as_clocks(seconds: int, text: str) -> None:
    """Hours, minutes, seconds, and days where there are some."""
    facts = progress_facts(traded_play().desk)
    assert text in progress_text(facts | {"elapsed_s": seconds})


def test_a_run_without_an_end_says_so() -> None:
    """A recording is played to the end of its data."""
    assert "to the end of the data" in progress_text(progress_facts(Play().desk))


def show(play: Play, clock: Ticking, capsys: pytest.CaptureFixture[str], **facts: bool) -> list[str]:
    """Lines on the terminal over ten steps in a second and a half."""
    progress = Progress(monotonic_ns=clock, **({"is_quiet": False, "is_json": False} | facts))
    for _ in range(10):
        progress.after_step(play.desk, Timer(ts_ns=1), wall_ns=1, done_wall_ns=None, effects=[])
        clock.ns += NS_PER_S * 3 // 20
    progress.close()
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


@pytest.mark.requirement("B25")
def test_without_a_terminal_there_are_plain_lines_once_a_second(capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error, so that standard output stays machine-readable."""
    lines = show(traded_play(), Ticking(), capsys)
    assert len(lines) == 2
    assert all("equity 10000.10" in line for line in lines)


@pytest.mark.requirement("H5.1")
def test_with_json_logs_the_progress_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Each line one object with the facts."""
    lines = show(traded_play(), Ticking(), capsys, is_json=True)
    assert [json.loads(line)["progress"]["equity"] for line in lines] == ["10000.10"] * 2


def test_quiet_means_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    """No line at all."""
    assert show(traded_play(), Ticking(), capsys, is_quiet=True) == []


# Logs.


def logged(folder: Path, *, is_json: bool) -> list[str]:
    """What `run.log` holds after a few steps of interest."""
    handler = open_log_file(folder, is_json=is_json)
    logger = logging.getLogger("agora.run")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    play = traded_play()
    teller = LogTeller()
    refused = OrderRefused(
        ts_ns=3,
        trader="t",
        instrument="BTCUSDT",
        purpose="entry",
        side="buy",
        size_lots=1,
        price_ticks=0,
        rule="leverage",
        reason="notional 5 over\nequity 1",
    )
    ended = RunEnded(ts_ns=4, status="stopped", reason="kill", exit_code=4, flat=True)
    events = [
        (FeedMalformed(ts_ns=1, reason="crossed", count=3, sample="{}"), []),
        (Timer(ts_ns=2), [refused]),
        (OperatorCommand(ts_ns=4, command="kill", reason='say "no"'), [ended, Halt()]),
        (play.journal[-1], []),
    ]
    for event, effects in events:
        teller.after_step(play.desk, event, wall_ns=1, done_wall_ns=None, effects=effects)
    logger.removeHandler(handler)
    handler.close()
    return (folder / "run.log").read_text().splitlines()


@pytest.mark.requirement("B4")
def test_the_log_tells_what_is_worth_a_line(tmp_path: Path) -> None:
    """Drops with reason and count as warnings, refusals with rule and numbers, commands, the end; no ticks."""
    text = "\n".join(logged(tmp_path, is_json=False))
    for words in ("WARNING feed.malformed reason=crossed count=3", "rule=leverage", "operator.command", "run.ended"):
        assert words in text
    assert "timer" not in text
    assert stat.S_IMODE((tmp_path / "run.log").stat().st_mode) == 0o600


@pytest.mark.requirement("H5.1")
def test_with_json_logs_every_line_is_one_object(tmp_path: Path) -> None:
    """Also where a reason holds quotes or a line break; the event's own fields are in it."""
    lines = [json.loads(line) for line in logged(tmp_path, is_json=True)]
    assert [line["event"]["kind"] for line in lines] == [
        "feed.malformed",
        "order.refused",
        "operator.command",
        "run.ended",
    ]
    assert lines[0]["level"] == "warning"
    assert lines[1]["event"]["rule"] == "leverage"


def test_an_exception_is_part_of_its_json_line() -> None:
    """A trace-back does not break the one-object-a-line rule."""
    try:
        int("two\nlines")
    except ValueError as fault:
        record = logging.LogRecord("agora", logging.ERROR, "x", 1, "broke", None, (type(fault), fault, None))
    line = JsonLines().format(record)
    assert "\n" not in line
    assert "ValueError" in line
