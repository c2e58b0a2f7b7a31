"""report.html: whole without network, readable without JavaScript, and deaf to markup in what it shows."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agora.report.collector import Collector, FillMark
from agora.report.figures import Figure
from agora.report.metrics import MetricsFile
from agora.report.page import PAGE_NAME, REPORT_NAME, render, write_report
from agora.report.sheet import figures_json, replace_private
from tests.report.builders import Sequel, SmallRun, wave
from tests.report.test_collector import busy_run
from tests.report.test_summary import report_of

MARKUP = "</script></td><script>alert(1)</script><img src=x onerror=alert(2)><!--\u2028"


class Outline(HTMLParser):
    """The elements of a page with their attributes, its visible text, and the contents of its scripts."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        """Note text where it stands."""
        inside = self.elements[-1][0] if self.elements else ""
        if inside == "script" and not data.isspace():
            self.scripts[-1] += data
        elif inside != "style":
            self.text += data


def page_of(run: SmallRun, **changes: object) -> Outline:
    """The page of a run whose report has these fields changed."""
    return Outline(render({**report_of(run), **changes}, run.collector.plots()))


@pytest.fixture(scope="module")
def busy() -> SmallRun:
    """One run for all tests that only look at it."""
    return busy_run()


def figures_in(page: Outline) -> list[dict[str, Any]]:
    """The plots that the page's script draws."""
    found: list[dict[str, Any]] = json.loads(page.scripts[0])
    return found


@pytest.mark.requirement("B20")
def test_the_page_tells_the_result_in_plain_text(busy: SmallRun) -> None:
    """Headline, identity, reason, tables and assumptions are there without any script."""
    report = report_of(busy)
    text = page_of(busy).text
    wanted = (
        *("completed", "flat", "ended by duration", "exit code 0", "run-t", "fills are on paper"),
        *(report["pnl_gross"], report["fees"], report["funding"], report["equity_end"]),
        *(report["per_trader"][0]["net"], report["per_symbol"][1]["realised"]),
        *("refused by size_steps", "malformed: bad_json", report["config_hash"], report["state_hash"]),
    )
    missing = [words for words in wanted if words not in text]
    assert missing == []
    assert report["pnl_net"].lstrip("-") in text


def test_the_page_plots_price_equity_drawdown_latency_and_refusals(busy: SmallRun) -> None:
    """Each plot has a place on the page, and each fill a marker that says why and with what result."""
    page = page_of(busy)
    titles = (
        "Price of BTCUSDT",
        "Price of ETHUSDT",
        "Equity",
        "Drawdown",
        "Latency",
        "Refused orders per rule",
    )
    assert [title for title in titles if title not in page.text] == []
    places = {attributes.get("id") for _, attributes in page.elements}
    drawn = figures_in(page)
    assert len(drawn) == len(titles)
    assert {f"plot-{figure['place']}" for figure in drawn} <= places
    markers = [
        text for figure in drawn for trace in figure["traces"] for text in trace.get("text", ()) if "pnl" in text
    ]
    assert len(markers) == busy.desk.state.counters.filled
    assert any(text.startswith("entry: buy 0.020 at ") for text in markers)
    assert any(text.startswith("flatten: sell") for text in markers)


def test_the_page_loads_nothing_and_runs_only_its_own_scripts(busy: SmallRun) -> None:
    """No element points outside, and the policy names the hash of each script there is."""
    page = page_of(busy)
    outward = {"src", "href", "action", "data", "srcset", "poster", "background", "formaction"}
    assert [item for item in page.elements if outward & set(item[1])] == []
    assert not {tag for tag, _ in page.elements} & {"link", "iframe", "object", "embed", "base", "form"}
    policy = next(
        attributes["content"] or ""
        for tag, attributes in page.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe-eval" not in policy
    scripts = policy.split("script-src")[1].split(";")[0].split()
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in page.scripts[1:]]
    assert scripts == [f"'sha256-{digest}'" for digest in hashes]
    assert len(page.scripts) == 3
    assert len(page.scripts[1]) > 1_000_000


HOSTILE: dict[str, Any] = {
    "run_id": MARKUP, "stopped_reason": MARKUP, "end_detail": MARKUP, "venue": MARKUP, "mode": MARKUP,
    "status": MARKUP, "traders": [MARKUP], "symbols": [MARKUP], "residual": [MARKUP], "assumptions": [MARKUP],
    "refusals": {MARKUP: 1}, "malformed_by_reason": {MARKUP: 2}, "config_hash": MARKUP, "version": MARKUP,
    "quote_currency": MARKUP, "started_at": MARKUP, "state_hash": MARKUP,
    "breakers": [{"breaker": MARKUP, "value": MARKUP, "limit": MARKUP, "at": MARKUP}],
}  # fmt: skip


@pytest.mark.parametrize("field", sorted(HOSTILE))
def test_markup_in_a_report_is_text(busy: SmallRun, field: str) -> None:
    """Whatever a reason or name holds, the page has the elements it has without it, and shows the words."""
    page = page_of(busy, **{field: HOSTILE[field]})
    tags = {tag for tag, _ in page.elements}
    assert "img" not in tags
    assert len(page.scripts) == 3
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert "<script>alert(1)</script>" in page.text or field == "refusals"


def test_markup_in_a_fill_ends_no_script_and_is_no_plot_markup() -> None:
    """A trader's name inside the plots' JSON stays a string, and Plotly gets it without tags."""
    run = SmallRun(Sequel({})).feed(wave(2))
    plots = run.collector.plots()
    mark = FillMark(
        ts_ns=run.desk.state.now_ns, symbol="BTCUSDT", side="buy", purpose=MARKUP, is_closing=False,
        trader='<a href="javascript:1">x</a>', price_ticks=500_000, size_lots=1, net_units=-5,
    )  # fmt: skip
    page = Outline(render(report_of(run), msgspec.structs.replace(plots, fills=(mark,))))
    assert len(page.scripts) == 3
    (text,) = figures_in(page)[0]["traces"][1]["text"]
    assert re.findall(r"<[^>]*>", text) == ["<br>", "<br>"]
    assert "pnl after fee -0.00000005 USDT" in text


def test_no_text_of_a_figure_can_end_the_element_that_holds_it() -> None:
    """The plots' JSON has no character that a page reads as markup, and still means the same."""
    figure = Figure(name="x", title="", note="", traces=[{"name": MARKUP}], layout={})
    text = figures_json([figure])
    assert re.search(rb"[<>&\x80-\xff]", text) is None
    assert json.loads(text)[0]["traces"] == [{"name": MARKUP}]


def test_a_run_in_which_nothing_happened_has_a_page() -> None:
    """Without data there are no plots, and the page says so."""
    page = page_of(SmallRun())
    assert "No price was seen." in page.text
    assert "No order was refused." in page.text
    assert "No decision and no acknowledgement was timed." in page.text
    assert [len(figure["traces"]) for figure in figures_in(page)] == [1, 1]


def test_a_very_long_list_is_cut_on_the_page() -> None:
    """A page stays a page; the rest is counted and in the report."""
    run = SmallRun().feed(wave(1))
    page = page_of(run, residual=[f"open order {number}" for number in range(1_000)])
    assert "open order 199" in page.text
    assert "open order 200" not in page.text
    assert "and 800 more, in final_report.json" in page.text


@pytest.mark.requirement("B20")
@pytest.mark.requirement("B21")
def test_all_files_of_a_report_are_written_for_the_owner_only(tmp_path: Path) -> None:
    """final_report.json, metrics.csv, metrics.json and report.html, whole, mode 0600, and nothing else."""
    run = busy_run(Collector(MetricsFile(tmp_path / "metrics.csv")))
    report = build_and_write(tmp_path, run)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"metrics.csv", "metrics.json", REPORT_NAME, PAGE_NAME}
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    assert json.loads((tmp_path / REPORT_NAME).read_bytes()) == report
    rows = json.loads((tmp_path / "metrics.json").read_bytes())["rows"]
    assert len(rows) == run.collector.metrics_rows
    assert (tmp_path / PAGE_NAME).read_text().endswith("</html>\n")


def test_writing_a_report_again_gives_the_same_files(tmp_path: Path) -> None:
    """A rebuilt report replaces the old one byte for byte."""
    run = busy_run(Collector(MetricsFile(tmp_path / "metrics.csv")))
    build_and_write(tmp_path, run)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    build_and_write(tmp_path, run)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def build_and_write(folder: Path, run: SmallRun) -> dict[str, Any]:
    """Write the files of a run and return its report."""
    report = report_of(run)
    write_report(folder, run.collector, report)
    return report


def test_a_file_that_cannot_be_written_whole_leaves_the_old_one(tmp_path: Path) -> None:
    """The name holds the old content until all of the new is on disk."""
    path = tmp_path / "final_report.json"
    path.write_bytes(b"old")

    def torn() -> Iterator[bytes]:
        yield b"half"
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        replace_private(path, torn())
    assert path.read_bytes() == b"old"
