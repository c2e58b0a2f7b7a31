"""The sheet that reports are written on: one self-contained page with plots, panels and tables, no network.

Everything a run recorded is text here, never markup: it is escaped, and the page's policy runs no script but
the two that belong to it and loads nothing. Knows no report.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

from agora.report.figures import Figure

# Reasons come from outside; a page shows this many of each kind, the report has them all.
ROWS_MAX = 200


def replace_private(path: Path, content: Iterable[bytes]) -> None:
    """Put a file in place at once, durably, readable by its owner only; on `OSError` the old one stays."""
    draft = path.with_name(f".{path.name}.draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        for piece in content:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def sheet(title: str, body: str, drawn: Sequence[Figure]) -> Iterator[bytes]:
    """The page piece by piece: the plotting library alone is 5 MB. `body` is markup made of the pieces below."""
    library, script = _plotting_library(), _own_file("page.js")
    yield _head(title, (library, script)).encode()
    yield body.encode()
    yield b'<script type="application/json" id="figures">' + figures_json(drawn) + b"</script>\n<script>"
    yield library
    yield b"</script>\n<script>" + script + b"</script>\n</body>\n</html>\n"


def _plotting_library() -> bytes:
    """Plotly's own script, as it can stand inside a page."""
    script = (files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    return _inline(script)


def _own_file(name: str) -> bytes:
    return _inline((files("agora.report") / name).read_bytes())


def _inline(script: bytes) -> bytes:
    """A script that no end tag cuts short, with the line ends that a browser hashes."""
    return script.replace(b"\r\n", b"\n").replace(b"</script", b"<\\/script")


def _policy(scripts: Iterable[bytes]) -> str:
    """Nothing is loaded, only these scripts run. Plotly needs inline styles, and images to save a plot."""
    hashes = (base64.b64encode(hashlib.sha256(script).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def figures_json(drawn: Sequence[Figure]) -> bytes:
    """The plots as JSON in which no character can end the element that holds it."""
    listed = [
        {"place": place, "traces": figure.traces, "layout": figure.layout}
        for place, figure in enumerate(drawn)
        if figure.traces
    ]
    text = json.dumps(listed, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026").encode()


def _head(title: str, scripts: Iterable[bytes]) -> str:
    style = _own_file("page.css").decode()
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(scripts)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{escaped(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
    )


# Pieces of markup. Everything that is not a constant of a module goes through `escaped`.


def plots(drawn: Sequence[Figure]) -> str:
    """The places that the plots are drawn in."""
    needs = '<noscript><p class="panel">The plots need JavaScript; every figure is in the tables.</p></noscript>'
    return needs + '<div class="grid">' + "".join(_plot(*numbered) for numbered in enumerate(drawn)) + "</div>"


def _plot(place: int, figure: Figure) -> str:
    width = " wide" if figure.name.startswith("price-") else ""
    size = " auto" if "height" in figure.layout else ""
    target = f'<div class="plot{size}" id="plot-{place}" role="img" aria-label="{escaped(figure.title)}"></div>'
    inside = target if figure.traces else f"<p>{escaped(figure.empty)}</p>"
    note = f'<p class="quiet">{escaped(figure.note)}</p>' if figure.traces else ""
    return f'<section class="panel{width}"><h2>{escaped(figure.title)}</h2>{note}{inside}</section>'


def escaped(value: object) -> str:
    """Text as it can stand anywhere in markup."""
    return escape(str(value), quote=True)


def panel(title: str, inside: str) -> str:
    """A titled part of the page."""
    return f'<section class="panel"><h2>{escaped(title)}</h2>{inside}</section>'


def bullets(items: Sequence[object]) -> str:
    """A list, its rest counted."""
    shown = "".join(f"<li>{escaped(item)}</li>" for item in items[:ROWS_MAX])
    return f"<ul>{shown}{_rest(items, 'li')}</ul>"


def _rest(items: Sequence[object], tag: str) -> str:
    left = len(items) - ROWS_MAX
    return f"<{tag}>and {left} more, in final_report.json</{tag}>" if left > 0 else ""


def pairs(rows: Sequence[tuple[str, object]]) -> str:
    """Names and values, its rest counted."""
    shown = "".join(f"<tr><th>{escaped(name)}</th><td>{escaped(value)}</td></tr>" for name, value in rows[:ROWS_MAX])
    rest = f"<tr>{_rest(rows, 'td')}</tr>" if len(rows) > ROWS_MAX else ""
    return f'<div class="scroll"><table class="pairs">{shown}{rest}</table></div>'


def table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table of any columns."""
    head = "".join(f"<th>{escaped(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{escaped(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def fact(name: str, value: object) -> str:
    """One figure of the headline."""
    return f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}</dd></div>"
