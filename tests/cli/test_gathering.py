"""`agora data record|fetch` at a testnet in a process of its own, and what they say when they cannot."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agora.cli.gathering import moment_ns
from agora.domain.errors import UsageFault
from tests.cli.commands import call

DEAD = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def announced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The announce line of a testnet that runs while the tests of this module do."""
    folder = tmp_path_factory.mktemp("testnet")
    words = [sys.executable, "-m", "agora", "testnet", "bitunix", "--port", "0", "--seed", "3"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        path = folder / "testnet.json"
        path.write_text(process.stdout.readline())
        yield path
        process.terminate()


def test_a_testnet_is_recorded_over_real_sockets(home: Path, announced: Path) -> None:
    """Three seconds of its market, and what `show` reads back of them."""
    out = home.parent / "live.parquet"
    words = ["data", "record", "--venue", "testnet", "--testnet", str(announced), "--duration", "0.05"]
    said = call(home, [*words, "--symbol", "BTCUSDT", "--symbol", "ETHUSDT", "--out", str(out), "--json"])
    assert said.code == 0, said.err
    assert said.facts["counts"]["market.quote"] >= 4
    assert said.facts["counts"]["market.depth"] >= 4
    assert [item["symbol"] for item in said.facts["instruments"]] == ["BTCUSDT", "ETHUSDT"]
    assert said.facts["faults"] == []
    shown = call(home, ["data", "show", str(out), "--json"]).facts
    assert shown["counts"] == said.facts["counts"]


def test_the_past_of_a_testnet_becomes_a_recording_that_a_backtest_takes(home: Path, announced: Path) -> None:
    """Two hours of minutes; the run on them ends as planned."""
    out = home.parent / "past.parquet"
    start = (datetime.now(UTC) - timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    words = ["data", "fetch", "--venue", "testnet", "--testnet", str(announced), "--start", start, "--out", str(out)]
    said = call(home, [*words, "--json"])
    assert said.code == 0, said.err
    assert 118 <= said.facts["counts"]["market.candle"] <= 121
    assert said.facts["interval_s"] == 60
    run = call(home, ["backtest", "--data", str(out), "--quiet", "--json"])
    assert run.code == 0, run.err
    assert run.facts["market_events"] == said.facts["counts"]["market.candle"]


@pytest.mark.parametrize(
    "words, code, message",
    [
        (["record", "--venue", "testnet"], 2, "--testnet or --url"),
        (["record", "--provider", "kraken"], 2, "bitunix or ccxt:EXCHANGE"),
        (["record", "--rest-url", DEAD], 3, "cannot be reached"),
        (["fetch", "--start", "2026-09-01", "--end", "2026-09-01"], 2, "bars, not 0"),
        (["fetch", "--start", "yesterday"], 2, "UTC date"),
        (["fetch", "--start", "2026-09-01", "--interval", "7m"], 2, "one of 1s, 5s"),
        (["fetch", "--start", "2026-09-01", "--end", "2026-09-02", "--rest-url", DEAD], 3, "cannot be reached"),
        (["fetch", "--start", "2026-09-01", "--provider", "ccxt:nosuch"], 2, "ccxt"),
    ],
)
def test_what_cannot_be_gathered_is_said(home: Path, words: list[str], code: int, message: str) -> None:
    """With the exit code of its kind, and no file."""
    out = home.parent / "none.parquet"
    # What a person waits for; the tests do not.
    said = call(home, ["data", *words, "--out", str(out)], {"AGORA_BITUNIX__READ_S_MAX": "0.2"})
    assert (said.code, message in said.err) == (code, True), said.err
    assert list(out.parent.glob("*none*")) == []


@pytest.mark.parametrize("text", ["2026-09-01", "2026-09-01T00:00:00Z", "2026-09-01T02:00:00+02:00"])
def test_a_moment_is_utc_unless_it_says_otherwise(text: str) -> None:
    """One moment, however it is written."""
    assert moment_ns(text) == 1_788_220_800_000_000_000
    with pytest.raises(UsageFault):
        moment_ns(text + "?")
