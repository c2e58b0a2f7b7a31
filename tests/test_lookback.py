"""Runs seen from their journal: a desk's and a market's, rebuilt from the folder alone; others are refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from agora import audit, launch, market_launch
from agora.domain.errors import StartFault, UsageFault
from agora.domain.events import Heartbeat
from agora.domain.market_events import LlmFallback, MarketTicked
from agora.journal.disk import Disk
from agora.journal.reader import read_records
from agora.journal.records import Record
from agora.lookback import MarketLookback, config_in, rebuilt
from agora.session.folder import CONFIG_FILE, Home, read_json, write_private
from tests.market.markets import settings


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a market of thirty ticks that has ended."""
    home = tmp_path_factory.mktemp("home")
    options = launch.Options(home=Home(home), run_dir=None, is_quiet=True, is_json_logs=False)
    outcome = market_launch.run_market(settings(market__ticks=30), options, market_launch.Company())
    assert outcome.exit_code == 0
    return outcome.folder


def first_of(folder: Path) -> Record:
    """The first record."""
    return next(iter(read_records(Disk(folder))))


def test_a_market_is_rebuilt_at_its_beginning(folder: Path, tmp_path: Path) -> None:
    """From the folder's settings, before its first event."""
    run = rebuilt(folder, first_of(folder), metrics=tmp_path / "metrics.csv")
    assert isinstance(run, MarketLookback)
    assert run.market.state.tick == 0
    assert run.config.config_hash() == config_in(folder).config_hash()
    run.collector.close()


def test_who_looks_on_sees_every_event_with_its_effects(folder: Path, tmp_path: Path) -> None:
    """Notes too; ticks with what they decided. The report is then the stored one."""
    ticks: list[int] = []
    beats: list[Heartbeat] = []

    class Onlooker:
        def after_step(self, market: object, event: object, *, effects: object) -> None:
            del market
            assert isinstance(effects, list)
            ticks.extend(effect.tick for effect in effects if isinstance(effect, MarketTicked))
            if isinstance(event, Heartbeat):
                beats.append(event)

    again = audit.replay_folder(folder, tmp_path / "metrics.csv", Onlooker())
    again.run.collector.close()
    assert ticks == list(range(1, 31))
    assert len(beats) == again.chain.records.get("heartbeat", 0) > 0
    stored = read_json(folder / audit.REPORT_FILE)
    assert msgspec.json.decode(msgspec.json.encode(again.report())) == stored


def test_a_journal_that_does_not_begin_is_refused(folder: Path, tmp_path: Path) -> None:
    """Empty, or with another first record."""
    other = msgspec.structs.replace(first_of(folder), event=LlmFallback(ts_ns=0, tick=1, agent="a", outcome="ok"))
    for first in (None, other):
        with pytest.raises(UsageFault, match=r"does not begin with run\.started"):
            rebuilt(folder, first, metrics=tmp_path / "metrics.csv")


def test_settings_that_were_changed_afterwards_are_refused(folder: Path, tmp_path: Path) -> None:
    """The journal knows the hash of those it was begun with."""
    stored = read_json(folder / CONFIG_FILE)
    stored["values"]["run"]["seed"] += 1
    write_private(tmp_path / CONFIG_FILE, msgspec.json.encode(stored))
    with pytest.raises(StartFault, match="its hash differs"):
        rebuilt(tmp_path, first_of(folder), metrics=tmp_path / "metrics.csv")


def test_the_ledger_is_rebuilt_from_the_journal(folder: Path) -> None:
    """Without its database, and twice: as many rows as the market had trades."""
    (folder / "ledger.sqlite").unlink()
    for _ in range(2):
        again = market_launch.rebuild_ledger(folder, market_launch.Company())
        assert isinstance(again.run, MarketLookback)
        again.run.collector.close()
    assert again.found.divergence is None
    assert (folder / "ledger.sqlite").stat().st_size > 0
