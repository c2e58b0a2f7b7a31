"""The rules of this repository about texts of any kind: code, documents and locks.

Patterns are built from pieces, so that this file does not match itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.repository_rules import FILE_BYTES_MAX, README_LINES_MAX, Finding, Source

_INDEX_HOSTS = "|".join((r"py" + r"pi\.org", r"python" + r"hosted\.org", r"npm" + r"js\.org", r"deb" + r"ian\.org"))
_MACHINE_PATHS = r"(?:^|[^A-Za-z0-9_.])/(?:" + "|".join(("wo" + "rk", "fa" + "rm", "ro" + "ot")) + ")/"
NAMED_PLACES = re.compile(f"{_INDEX_HOSTS}|{_MACHINE_PATHS}", re.MULTILINE)
LEFTOVERS = re.compile(r"\b(?:" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b")
CODE_SUFFIXES = (".py", ".js", ".ts", ".css", ".html", ".sh", ".toml", "Makefile", ".ci/run")


def check_named_places(source: Source) -> Iterator[Finding]:
    """No file names a package index's host or a folder of one machine."""
    for number, line in _lines_matching(NAMED_PLACES, source):
        yield Finding("named-place", source.path, number, f"leave the host or machine path out: {line.strip()[:80]}")


def check_leftovers(source: Source) -> Iterator[Finding]:
    """What is left to do is an issue, not a remark in the code."""
    if source.path.endswith(CODE_SUFFIXES):
        for number, line in _lines_matching(LEFTOVERS, source):
            yield Finding("leftover", source.path, number, f"finish it or open an issue: {line.strip()[:80]}")


def _lines_matching(pattern: re.Pattern[str], source: Source) -> Iterator[tuple[int, str]]:
    if pattern.search(source.text):
        yield from ((n, line) for n, line in enumerate(source.text.splitlines(), 1) if pattern.search(line))


def check_readme_length(source: Source) -> Iterator[Finding]:
    """A README is read before anything else, so it is short."""
    lines = len(source.text.splitlines())
    if source.path == "README.md" and lines > README_LINES_MAX:
        yield Finding("readme-length", source.path, 1, f"{lines} lines, the limit is {README_LINES_MAX}")


def check_file_size(source: Source) -> Iterator[Finding]:
    """Large files belong beside the repository, not in it."""
    size = len(source.text.encode("utf-8", "surrogateescape"))
    if size > FILE_BYTES_MAX:
        yield Finding("file-size", source.path, 1, f"{size} bytes, the limit is {FILE_BYTES_MAX}")


PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", re.MULTILINE)


def check_lock(source: Source) -> Iterator[Finding]:
    """A lock pins versions by hash and leaves the index to the user's own settings."""
    if not source.path.endswith(".lock"):
        return
    for number, line in enumerate(source.text.splitlines(), 1):
        is_option = line.startswith("-") or "://" in line
        is_unpinned = line[:1].isalnum() and not PIN.match(line)
        if is_option or is_unpinned:
            yield Finding("lock", source.path, number, f"expected name==version with hashes, found: {line[:60]}")
    for pin in re.split(r"\n(?=[a-z0-9])", source.text)[1:]:
        if "--hash=sha256:" not in pin:
            yield Finding("lock", source.path, 1, f"no hash for {pin.splitlines()[0]}")
