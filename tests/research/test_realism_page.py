"""A realism report as text, JSON and page: complete, finite, whole without network, deaf to markup."""

from __future__ import annotations

import json
import re

import msgspec
import numpy as np
import pytest

from agora.report.sheet import figures_json
from agora.research.realism import judge
from agora.research.realism_figures import figures
from agora.research.realism_page import COLUMNS, json_text, plots_html, table_text
from agora.research.realism_sample import MarketSample
from agora.research.realism_verdicts import Realism, Verdict
from tests.research.realism_builders import garch_days, metaorders, samples_of, split_signs

MARKUP = "</script></title><script>alert(1)</script><img src=x onerror=alert(2)>"


def whole_sample() -> list[MarketSample]:
    """Five days in which everything was observed."""
    return [
        msgspec.structs.replace(
            day,
            signs=split_signs(place, 5_000),
            volumes=np.arange(day.minutes) % 17 + 1.0,
            spreads=np.full(len(day.prices), 2.0),
            one_sided=np.zeros(len(day.prices)),
            metaorders=metaorders(place, 0.5, 300),
        )
        for place, day in enumerate(samples_of(garch_days(1)))
    ]


@pytest.fixture(scope="module")
def samples() -> list[MarketSample]:
    """One market for all tests that only look at it."""
    return whole_sample()


@pytest.fixture(scope="module")
def realism(samples: list[MarketSample]) -> Realism:
    """Its report."""
    return judge(*samples)


def test_the_table_has_every_row_with_its_numbers_in_columns(realism: Realism) -> None:
    """One line a row under the heads, the verdicts below one another, the worst at the end."""
    head, *lines, last = table_text(realism).splitlines()
    assert head.split()[:6] == list(COLUMNS[:6])
    assert [line.split()[:2] for line in lines] == [[row.name, row.verdict.value] for row in realism.rows]
    assert {line.index(row.verdict.value) for line, row in zip(lines, realism.rows, strict=True)} == {
        head.index("verdict")
    }
    assert all(str(row.n) in line and row.statistic in line for line, row in zip(lines, realism.rows, strict=True))
    assert last == f"verdict: {realism.verdict.value}"


def test_json_holds_the_report_exactly(realism: Realism) -> None:
    """What is read back equals what was judged; numbers that do not exist are null."""
    assert msgspec.json.decode(json_text(realism), type=Realism) == realism
    empty = json.loads(json_text(judge()))
    assert {row["value"] for row in empty["rows"]} == {None}
    assert "NaN" not in json_text(judge())


def test_the_page_shows_verdicts_and_all_plots(realism: Realism, samples: list[MarketSample]) -> None:
    """Each row stands in the table, and each figure of a whole sample has traces."""
    page = plots_html(realism, *samples, title="default market")
    assert all(f"<td>{row.name.replace('_', ' ')}</td>" in page for row in realism.rows)
    assert f"{len(realism.names(Verdict.PASS))} PASS" in page
    drawn = figures(samples)
    assert [figure.name for figure in drawn if not figure.traces] == []
    assert all(figure.title in page for figure in drawn)


def test_the_page_needs_no_network_and_runs_only_its_own_scripts(realism: Realism, samples: list[MarketSample]) -> None:
    """The policy allows nothing but two scripts by their hashes, and no element loads anything."""
    page = plots_html(realism, *samples, title="m")
    head = page[: page.index("</head>")]
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', head)
    assert policy
    assert "default-src 'none'" in policy[1]
    assert policy[1].count("sha256-") == 2
    assert not re.search(r"<(?:script|link|img)[^>]*(?:src|href)=", page[: page.index('id="figures"')])


def test_a_hostile_title_stays_text(realism: Realism, samples: list[MarketSample]) -> None:
    """Markup in a name is shown, not obeyed."""
    page = plots_html(realism, *samples, title=MARKUP)
    assert "<script>alert" not in page
    assert "<img" not in page[: page.index('id="figures"')]
    assert "&lt;img src=x" in page


@pytest.mark.parametrize(
    "prices",
    [np.ones(0), np.ones(1), np.ones(90), np.ones(120), np.ones(9_000), np.arange(1.0, 901.0)],
    ids=["none", "one", "a minute", "two minutes", "constant", "rising"],
)
def test_a_poor_sample_has_a_page_too(prices: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    """Whatever is missing is said in words; no plot holds a number that JSON does not know."""
    sample = MarketSample(prices=prices)
    page = plots_html(judge(sample), sample, title="poor")
    assert "The sample holds no meta-orders." in page
    json.loads(figures_json(figures([sample])))


def test_plots_stay_small(samples: list[MarketSample]) -> None:
    """A year of seconds draws no more points than a screen has."""
    steps = 60 * 200_000
    long = MarketSample(prices=1e4 + np.sin(np.arange(steps) / 1e4) + np.arange(steps) % 7)
    assert len(figures_json(figures([long]))) < 300_000
    assert len(figures_json(figures(samples))) < 300_000
