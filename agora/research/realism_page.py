"""A realism report made readable: as a table of text, as JSON, and as one page with plots that needs no network.

Shows rows as they were judged and judges nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from agora.report.sheet import escaped, panel, plots, sheet, table
from agora.research.realism_figures import figures
from agora.research.realism_sample import MarketSample
from agora.research.realism_verdicts import Band, Realism, Row, Verdict

COLUMNS = ("fact", "verdict", "value", "error", "band", "n", "statistic", "detail")
# The last two are sentences; everything before them lines up.
_ALIGNED = 6


def table_text(realism: Realism) -> str:
    """One line for each row, columns lined up, the worst verdict in the last line."""
    lines = [COLUMNS, *(_cells(row) for row in realism.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(_ALIGNED)]
    shown = [_aligned(line, widths) for line in lines]
    return "\n".join([*shown, f"verdict: {realism.verdict.value}"]) + "\n"


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    cells = [cell.ljust(width) for cell, width in zip(line[:_ALIGNED], widths, strict=True)]
    return "  ".join([*cells, "; ".join(part for part in line[_ALIGNED:] if part)])


def _cells(row: Row) -> tuple[str, ...]:
    numbers = (_number(row.value), _number(row.error), _band(row.band), str(row.n))
    return (row.name, row.verdict.value, *numbers, row.statistic, row.detail)


def _words(row: Row) -> tuple[str, ...]:
    """The cells with a name that a narrow column can break between words."""
    name, *rest = _cells(row)
    return (name.replace("_", " "), *rest)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _band(band: Band) -> str:
    low, high = band
    if low is None and high is None:
        return "–"
    if high is None:
        return f"from {low:.4g}"
    return f"to {high:.4g}" if low is None else f"{low:.4g} to {high:.4g}"


def json_text(realism: Realism) -> str:
    """The report as indented JSON, missing numbers as null."""
    return msgspec.json.format(msgspec.json.encode(realism), indent=2).decode() + "\n"


def plots_html(realism: Realism, *samples: MarketSample, title: str) -> str:
    """The whole page: verdict, plots, table. `title` says which market this is; all of it may be hostile text."""
    drawn = figures(samples)
    body = "\n".join(
        (
            _headline(realism, title),
            "<main>",
            plots(drawn),
            panel("Stylised facts", table(COLUMNS, (_words(row) for row in realism.rows))),
            "</main>",
        )
    )
    return b"".join(sheet(f"Realism of {title}", body, drawn)).decode()


def _headline(realism: Realism, title: str) -> str:
    counts = [(verdict, len(realism.names(verdict))) for verdict in Verdict]
    badges = "".join(_badge(f"{count} {verdict.value}", is_good=verdict is Verdict.PASS) for verdict, count in counts)
    return (
        f'<header><h1>Realism of {escaped(title)}</h1><div class="badges">'
        f"{_badge(realism.verdict.value, is_good=realism.verdict is Verdict.PASS)}{badges}</div></header>"
    )


def _badge(words: str, *, is_good: bool) -> str:
    return f'<span class="badge{" good" if is_good else ""}">{escaped(words)}</span>'
