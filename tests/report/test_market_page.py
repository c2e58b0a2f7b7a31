"""The page of a market run: everything of the report, whole without a network, deaf to markup in news and names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agora.domain.market_events import NewsArrived, Shock
from agora.report.market_collector import MarketCollector
from agora.report.market_page import market_pieces, write_market_report
from agora.report.metrics import MetricsFile
from tests.report.market_runs import Seen
from tests.report.test_page import MARKUP, Outline


@pytest.fixture(scope="module")
def seen() -> Seen:
    """A market with markup in its news, ended."""
    market = Seen(market__ticks=40)
    market.ticks(10)
    market.take(NewsArrived(ts_ns=10, text=f"news {MARKUP}", tone=0.5, source=MARKUP))
    market.take(Shock(ts_ns=10, symbol="ARBO", fraction_ppm=-70_000, cause=f"shock {MARKUP}"))
    market.ticks(30)
    return market


def page_of(seen: Seen) -> str:
    """The page as text."""
    return b"".join(market_pieces(seen.report(), seen.collector)).decode()


def test_the_page_tells_agents_assets_news_and_assumptions(seen: Seen) -> None:
    """Readable without a script."""
    text = Outline(page_of(seen)).text
    report = seen.report()
    for words in ("ARBO", "BRIO", "market_maker-1", "rules", "duration", report["assumptions"][0], "shock of ARBO"):
        assert words in text
    assert report["per_symbol"][0]["price_end"] in text


def test_markup_in_the_news_stays_text(seen: Seen) -> None:
    """No element and no script of the page comes from what somebody said."""
    outline, plain = Outline(page_of(seen)), Outline(page_of(Seen(market__ticks=1)))
    assert "alert(1)" in outline.text
    # With news there is a list where otherwise a sentence stands; both know the same few elements.
    assert {"img"}.isdisjoint(name for name, _ in outline.elements)
    assert not any("onerror" in attributes for _, attributes in outline.elements)
    assert len(outline.scripts) == len(plain.scripts)


def test_the_page_asks_nobody(seen: Seen) -> None:
    """Nothing is loaded from elsewhere."""
    for _, attributes in Outline(page_of(seen)).elements:
        for name in ("src", "href"):
            assert not str(attributes.get(name) or "").startswith(("http", "//"))


def test_the_files_are_written_for_their_owner_only(seen: Seen, tmp_path: Path) -> None:
    """Report, metrics and page, 0600; the report is what was built."""
    collector = MarketCollector(MetricsFile(tmp_path / "metrics.csv"))
    assert seen.collector.started is not None
    collector.after_step(seen.market, seen.collector.started, effects=[])
    write_market_report(tmp_path, collector, seen.report())
    assert json.loads((tmp_path / "final_report.json").read_text())["run_id"] == "by-hand"
    for name in ("final_report.json", "metrics.json", "report.html"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
