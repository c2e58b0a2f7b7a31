"""The cassette: the n-th use of a question gets its n-th answer, strictly or not, after crashes and on bad files."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from agora.domain.decisions import AnswerOutcome, Reply, ReplySource
from agora.domain.errors import StartFault, UsageFault
from agora.session import cassette as cassette_module
from agora.session.cassette import Cassette, CassetteMode


def recorded(path: Path, *replies: tuple[str, Reply], mode: CassetteMode = CassetteMode.RECORD) -> None:
    """A file with those answers, kept in that order."""
    cassette = Cassette(path, mode)
    for key, reply in replies:
        slot, _ = cassette.take(key)
        cassette.keep(slot, reply)
    cassette.close()


def answer(text: str) -> Reply:
    """A usable answer that cost something."""
    return Reply(text=text, input_tokens=5, output_tokens=7, cost_units=11, latency_ns=13)


FAILED = Reply(outcome=AnswerOutcome.TIMEOUT, detail="no answer within 5 ms", cost_units=3)


def test_the_nth_use_gets_the_nth_answer(tmp_path: Path) -> None:
    """The same question asked twice may have had two answers; another question has its own count."""
    path = tmp_path / "c"
    recorded(path, ("k", answer("one")), ("other", answer("x")), ("k", answer("two")))
    played = Cassette(path, CassetteMode.REPLAY)
    taken = [played.take(key)[1] for key in ("k", "k", "other")]
    assert [reply.text for reply in taken if reply] == ["one", "two", "x"]


def test_a_replayed_answer_is_the_same_but_for_its_source_and_cost(tmp_path: Path) -> None:
    """Nothing is paid again; text, counts and time are those of the first life."""
    path = tmp_path / "c"
    recorded(path, ("k", answer("one")))
    for mode, source in ((CassetteMode.REPLAY, ReplySource.REPLAY), (CassetteMode.AUTO, ReplySource.CACHE)):
        played = Cassette(path, mode)
        assert played.take("k")[1] == Reply(
            text="one", source=source, input_tokens=5, output_tokens=7, cost_units=0, latency_ns=13
        )
        played.close()


def test_a_strict_replay_of_a_missing_answer_is_an_outcome(tmp_path: Path) -> None:
    """Nobody is asked; the reply says that the cassette missed it."""
    path = tmp_path / "c"
    recorded(path, ("k", answer("one")))
    played = Cassette(path, CassetteMode.REPLAY)
    played.take("k")
    for key in ("k", "unheard-of"):
        reply = played.take(key)[1]
        assert reply is not None
        assert (reply.outcome, reply.source, reply.text) == (AnswerOutcome.REPLAY, ReplySource.REPLAY, "")


def test_auto_asks_for_what_is_missing_and_keeps_it(tmp_path: Path) -> None:
    """A hit is taken, a miss asked for; the next run has both."""
    path = tmp_path / "c"
    recorded(path, ("k", answer("one")))
    first = Cassette(path, CassetteMode.AUTO)
    assert first.take("k")[1] is not None
    slot, missing = first.take("new")
    assert missing is None
    first.keep(slot, answer("fresh"))
    first.close()
    second = Cassette(path, CassetteMode.AUTO)
    assert [reply.text for key in ("new", "k") if (reply := second.take(key)[1])] == ["fresh", "one"]
    second.close()


def test_a_failure_is_replayed_strictly_and_asked_again_by_auto(tmp_path: Path) -> None:
    """A time-out of the recorded run is one again in its replay; a run that may ask does, and keeps the better."""
    path = tmp_path / "c"
    recorded(path, ("k", FAILED))
    played = Cassette(path, CassetteMode.REPLAY).take("k")[1]
    assert played is not None
    assert (played.outcome, played.cost_units) == (AnswerOutcome.TIMEOUT, 0)
    auto = Cassette(path, CassetteMode.AUTO)
    slot, missing = auto.take("k")
    assert missing is None
    auto.keep(slot, answer("better"))
    auto.close()
    again = Cassette(path, CassetteMode.REPLAY).take("k")[1]
    assert again is not None
    assert again.text == "better"


def test_live_reads_and_writes_nothing(tmp_path: Path) -> None:
    """A cassette that is named but not used is not touched."""
    path = tmp_path / "c"
    recorded(path, ("k", answer("one")), mode=CassetteMode.LIVE)
    assert not path.exists()
    without = Cassette(None, CassetteMode.REPLAY)
    assert without.take("k")[1] is None


def test_record_asks_even_what_it_knows_and_the_new_answer_holds(tmp_path: Path) -> None:
    """A second recording supersedes the first, line by line."""
    path = tmp_path / "c"
    recorded(path, ("k", answer("old")), ("j", answer("kept")))
    recorded(path, ("k", answer("new")))
    played = Cassette(path, CassetteMode.REPLAY)
    assert [reply.text for key in ("k", "j") if (reply := played.take(key)[1])] == ["new", "kept"]


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_last_line_is_lost_and_nothing_else(tmp_path: Path, cut: int) -> None:
    """A crash in the middle of a line: earlier answers are there, and the file can be written on."""
    path = tmp_path / "c"
    recorded(path, ("k", answer("one")), ("j", answer("two")))
    path.write_bytes(path.read_bytes()[:-cut])
    played = Cassette(path, CassetteMode.REPLAY)
    assert [reply.outcome for key in ("k", "j") if (reply := played.take(key)[1])] == [None, AnswerOutcome.REPLAY]
    recorded(path, ("j", answer("again")), mode=CassetteMode.AUTO)
    whole = Cassette(path, CassetteMode.REPLAY)
    assert [reply.text for key in ("k", "j") if (reply := whole.take(key)[1])] == ["one", "again"]


def test_a_file_torn_in_its_first_line_begins_anew(tmp_path: Path) -> None:
    """A crash while the file was made leaves one that can be used."""
    path = tmp_path / "c"
    path.write_bytes(b'{"casse')
    recorded(path, ("k", answer("one")))
    assert Cassette(path, CassetteMode.REPLAY).take("k")[1] is not None


@pytest.mark.parametrize(
    "content, words",
    [
        (b"my diary\n", "is no cassette"),
        (b"my diary", "is no cassette"),
        (b'{"cassette":2}\n', "version 2"),
        (b'{"cassette":1}\nrubbish\n', "line 2: damaged"),
        (b'{"cassette":1}\n{"key":"k","use":0,"reply":{"text":5}}\n', "line 2: damaged"),
        (b'{"cassette":1}\n' + b"x" * 1_000_000 + b"\n", "line 2: damaged"),
    ],
)
def test_another_file_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes, words: str) -> None:
    """Whatever the mode, a file that is no cassette is named with what is wrong, and not a byte of it changes."""
    path = tmp_path / "c"
    path.write_bytes(content)
    for mode in (CassetteMode.RECORD, CassetteMode.REPLAY, CassetteMode.AUTO):
        with pytest.raises(UsageFault, match=words):
            Cassette(path, mode)
    assert path.read_bytes() == content


def test_a_missing_file_cannot_be_replayed(tmp_path: Path) -> None:
    """It is said before anything starts, and no file appears."""
    with pytest.raises(UsageFault, match="cannot open"):
        Cassette(tmp_path / "none", CassetteMode.REPLAY)
    assert not (tmp_path / "none").exists()


def test_the_file_is_its_owners_and_has_one_writer(tmp_path: Path) -> None:
    """Readable by nobody else, also if it was; a second writer is refused while a reader is not."""
    path = tmp_path / "c"
    path.touch(mode=0o644)
    writer = Cassette(path, CassetteMode.AUTO)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(StartFault, match="in use"):
        Cassette(path, CassetteMode.RECORD)
    Cassette(path, CassetteMode.REPLAY).close()
    writer.close()
    Cassette(path, CassetteMode.RECORD).close()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A name that leads elsewhere is refused, so nobody's other file is written to."""
    (tmp_path / "target").write_text("")
    (tmp_path / "c").symlink_to(tmp_path / "target")
    with pytest.raises(UsageFault, match="cannot open"):
        Cassette(tmp_path / "c", CassetteMode.RECORD)


def test_a_resumed_recording_goes_on_where_the_checkpoint_was(tmp_path: Path) -> None:
    """Answers recorded after the checkpoint are asked for again and superseded; earlier uses keep their count."""
    path = tmp_path / "c"
    first = Cassette(path, CassetteMode.RECORD)
    for text in ("one", "two"):
        first.keep(first.take("k")[0], answer(text))
    checkpoint = first.snapshot()
    first.keep(first.take("k")[0], answer("lost with the crash"))
    first.close()
    second = Cassette(path, CassetteMode.RECORD)
    second.restore(checkpoint)
    slot, _ = second.take("k")
    assert slot.use == 2
    second.keep(slot, answer("three"))
    second.close()
    played = Cassette(path, CassetteMode.REPLAY)
    assert [reply.text for _ in range(3) if (reply := played.take("k")[1])] == ["one", "two", "three"]


def test_what_is_too_large_is_used_but_not_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A line beyond the limit is counted and said once; the file stays whole."""
    path = tmp_path / "c"
    huge = answer("\x01" * (cassette_module.LINE_BYTES_MAX // 6))
    cassette = Cassette(path, CassetteMode.RECORD)
    for _ in range(2):
        cassette.keep(cassette.take("k")[0], huge)
    cassette.keep(cassette.take("j")[0], answer("fits"))
    assert cassette.dropped == 2
    assert caplog.text.count("keeps no further") == 1
    cassette.close()
    assert Cassette(path, CassetteMode.REPLAY).take("j")[1] is not None
