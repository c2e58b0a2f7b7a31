"""Plants a bug into a module of the package as it is imported: the files stay as they are, kernels stay compiled."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Change(NamedTuple):
    """`old`, which is there exactly once in the file (below `agora/`), becomes `new`."""

    file: str
    old: str
    new: str


class _Planted(importlib.machinery.SourceFileLoader):
    """Reads a source file with changes; byte code of the unchanged one is not looked at."""

    def __init__(self, name: str, path: str, changes: Sequence[Change]) -> None:
        super().__init__(name, path)
        self._changes = changes

    def get_data(self, path: str) -> bytes:
        """The changed text."""
        text = super().get_data(path).decode()
        for change in self._changes:
            count = text.count(change.old)
            assert count == 1, f"{change.file} holds {change.old!r} {count} times"
            text = text.replace(change.old, change.new)
        return text.encode()

    def path_stats(self, path: str) -> Mapping[str, Any]:
        """Refused, so that nothing compiled is used or left behind."""
        raise OSError(path)


class _Finder:
    """Finds the modules that are to be changed, before anybody else does."""

    def __init__(self, changes: Sequence[Change]) -> None:
        self._by_module: dict[str, list[Change]] = {}
        for change in changes:
            name = "agora." + change.file.removesuffix(".py").replace("/", ".")
            self._by_module.setdefault(name, []).append(change)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of a changed module."""
        del path, target
        changes = self._by_module.get(fullname)
        if changes is None:
            return None
        file = str(Path(ROOT, "agora", changes[0].file))
        loader = _Planted(fullname, file, changes)
        return importlib.util.spec_from_file_location(fullname, file, loader=loader)


def plant(changes: Sequence[Change]) -> None:
    """Change the modules for the rest of this process; none of them may be imported yet."""
    finder = _Finder(changes)
    early = sorted(set(finder._by_module) & set(sys.modules))
    assert not early, f"imported before the bug was planted: {early}"
    sys.meta_path.insert(0, finder)
