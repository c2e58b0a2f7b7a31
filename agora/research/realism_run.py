"""`agora realism`: replays a market run, judges each of its assets, writes a page for each."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import msgspec

from agora import audit
from agora.domain.errors import DamagedJournal
from agora.report.sheet import replace_private
from agora.research.market_samples import SampleKeeper
from agora.research.realism import judge
from agora.research.realism_page import json_text, plots_html, table_text
from agora.research.realism_verdicts import Verdict


class Judged(msgspec.Struct, frozen=True):
    """The reports on all assets of a run: as facts, as text, and whether any row failed."""

    facts: dict[str, Any]
    text: str
    has_failed: bool


def judge_run(folder: Path, out: Path) -> Judged:
    """Replay, judge, write `realism-SYMBOL.html` into `out`; raises as a replay does."""
    keeper = SampleKeeper()
    with tempfile.TemporaryDirectory() as scratch:
        again = audit.replay_folder(folder, Path(scratch) / audit.METRICS_FILE, keeper)
        again.run.collector.close()
    if again.found.divergence is not None:
        raise DamagedJournal(f"the journal does not replay at record {again.found.divergence.seq}")
    facts: dict[str, Any] = {"run": folder.name, "assets": {}}
    lines = []
    has_failed = False
    for symbol, sample in keeper.samples().items():
        realism = judge(sample)
        page = out / f"realism-{symbol}.html"
        replace_private(page, [plots_html(realism, sample, title=f"{symbol} of {folder.name}").encode()])
        facts["assets"][symbol] = msgspec.json.decode(json_text(realism)) | {"page": str(page)}
        lines += [f"{symbol}: {realism.verdict}", table_text(realism), f"page: {page}", ""]
        has_failed = has_failed or realism.verdict is Verdict.FAIL
    return Judged(facts, "\n".join(lines), has_failed)
