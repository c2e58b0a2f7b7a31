"""`agora data import|show`: what came in, what was left out, and where the faults are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import call

ROWS = (
    "open_time,open,high,low,close,volume",
    "1735689600000,100.0,101.0,99.0,100.5,12",
    "1735689660000,100.5,100.9,100.1,100.2,9",
    "1735689720000,0,0,0,0,0",
    "1735689780000,100.2,nan,100.0,100.1,3",
    "1735689840000,100.1,100.4,99.8,100.3,7",
)


@pytest.fixture
def candles(tmp_path: Path) -> Path:
    """Five minutes, of which one has no price and one no number."""
    path = tmp_path / "BTCUSDT-1m.csv"
    path.write_text("".join(f"{row}\n" for row in ROWS))
    return path


@pytest.mark.requirement("B4")
def test_an_import_names_each_fault_with_its_count_file_and_line(home: Path, candles: Path) -> None:
    """The bad minutes are found by reason and place; the good ones are counted; both in text and JSON."""
    words = ["data", "import", str(candles), "--symbol", "BTCUSDT", "--out", str(home.parent / "a.parquet")]
    facts = call(home, [*words, "--json"]).facts
    assert facts["counts"]["market.candle"] == 3
    faults = {fault["reason"]: fault for fault in facts["faults"]}
    assert sum(fault["count"] for fault in faults.values()) >= 2
    assert any(f"{candles.name}:4" in fault["sample"] for fault in faults.values())
    assert any(f"{candles.name}:5" in fault["sample"] for fault in faults.values())
    text = call(home, words)
    assert text.code == 0
    assert all(f"fault {reason}: {fault['count']}" in text.out for reason, fault in faults.items())
    assert f"{candles.name}:4" in text.out


def test_a_recording_is_shown_with_its_span_instrument_sources_and_faults(home: Path, candles: Path) -> None:
    """What `import` counted is what `show` reads back."""
    out = home.parent / "a.parquet"
    made = call(home, ["data", "import", str(candles), "--symbol", "BTCUSDT", "--out", str(out), "--json"]).facts
    shown = call(home, ["data", "show", str(out), "--json"]).facts
    assert all(shown[name] == made[name] for name in ("counts", "first", "last", "sources", "interval_s"))
    assert {f["reason"]: f["count"] for f in shown["faults"]} == {f["reason"]: f["count"] for f in made["faults"]}
    assert shown["first"] == "2025-01-01T00:01:00Z"
    text = call(home, ["data", "show", str(out)]).out
    assert all(words in text for words in ("BTCUSDT", "tick 0.1", "candles of 60 s", candles.name, "fault"))


def test_a_recording_without_faults_says_so(home: Path, candles: Path) -> None:
    """Silence would leave a reader wondering."""
    candles.write_text("".join(f"{row}\n" for row in ROWS[:3]))
    out = home.parent / "a.parquet"
    assert "no faults" in call(home, ["data", "import", str(candles), "--symbol", "BTCUSDT", "--out", str(out)]).out


@pytest.mark.parametrize("content", [b"", b"hello\n", b"PAR1" + b"\x00" * 64])
def test_what_is_no_recording_is_a_usage_fault(home: Path, tmp_path: Path, content: bytes) -> None:
    """Exit code 2 and the file's name for `show` and `import`, and no file is left."""
    path, out = tmp_path / "x.parquet", tmp_path / "out.parquet"
    path.write_bytes(content)
    shown = call(home, ["data", "show", str(path)])
    assert (shown.code, path.name in shown.err) == (2, True)
    assert call(home, ["data", "import", str(path), "--out", str(out)]).code == 2
    assert not out.exists()
    assert call(home, ["data", "show", str(tmp_path / "nosuch")]).code == 2
