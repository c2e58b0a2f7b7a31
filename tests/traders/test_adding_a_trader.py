"""The example in docs/ADDING_A_TRADER.md is a trader that works."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from agora.traders.sizing import SizingSettings

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "ADDING_A_TRADER.md"


def block(key: str) -> str:
    """The text of the code block that the document marks with `key`."""
    found = re.findall(rf"```python {re.escape(key)}\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    assert len(found) == 1, f"expected one block marked {key!r} in {DOCUMENT.name}, found {len(found)}"
    return str(found[0])


def loaded(name: str, text: str, folder: Path) -> ModuleType:
    """A module of that name made from the text."""
    path = folder / f"{name.rpartition('.')[2]}.py"
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def example(tmp_path: Path) -> Iterator[ModuleType]:
    """The documented trader, importable under its documented name while a test runs."""
    name = "agora.traders.new_high"
    yield loaded(name, block("file=agora/traders/new_high.py"), tmp_path)
    del sys.modules[name]


def test_the_documented_test_passes_on_the_documented_trader(example: ModuleType, tmp_path: Path) -> None:
    """A reader who copies both files has a green test."""
    tests = loaded("new_high_example_test", block("file=tests/traders/test_new_high.py"), tmp_path)
    try:
        assert tests.NewHigh is example.NewHigh
        names = [name for name in vars(tests) if name.startswith("test_")]
        assert names
        for name in names:
            getattr(tests, name)()
    finally:
        del sys.modules["new_high_example_test"]


def test_the_documented_line_builds_the_trader_from_settings(example: ModuleType) -> None:
    """The line is one entry of a table from names to builders."""
    line = block("line=agora/config.py").strip()
    matched = re.fullmatch(r'TRADERS\["(\w+)"\] = TraderKind\("([\w.]+)", "(\w+)", \("(\w+)",\)\)', line)
    assert matched is not None
    name, module, class_name, section = matched.groups()
    assert module == example.__name__
    trader = getattr(example, class_name)({"sizing": SizingSettings()}[section])
    assert trader.name == name
