"""The repository tests itself: layers, clocks, sizes, words, locks and generated documents.

Each rule is applied to every file and to a planted offence, so that a rule which no longer sees is noticed.
"""

from __future__ import annotations

import functools
import os
import re
import socket
import subprocess
import tomllib
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from tests import repository_rules as rules
from tests import repository_shape as shape
from tests import repository_texts as texts
from tests.repository_rules import Finding, Source

ROOT = Path(__file__).resolve().parent.parent
UNTRACKED = {
    *(".git", ".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".venv"),
    *("__pycache__", "build", "dist", "var"),
}

Rule = Callable[[Source], Iterator[Finding]]
MEASURES: tuple[Rule, ...] = (
    shape.check_file_length,
    shape.check_function_length,
    shape.check_nesting,
    shape.check_parameters,
)
CODE_RULES: tuple[Rule, ...] = (
    rules.check_ranks,
    rules.check_function_imports,
    rules.check_bans,
    rules.check_loop_calls,
    rules.check_seeds,
    rules.check_broad_excepts,
    rules.check_async_homes,
    shape.check_module_docstrings,
    shape.check_package_files,
    shape.check_public_docstrings,
    shape.check_stubs,
    shape.check_test_habits,
)
TEXT_RULES: tuple[Rule, ...] = (
    texts.check_file_size,
    texts.check_leftovers,
    texts.check_lock,
    texts.check_named_places,
    texts.check_readme_length,
)


def tracked_paths() -> list[str]:
    """The files git knows or would add; where git is absent, all but what the tools make."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True, text=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        found = (path.relative_to(ROOT) for path in ROOT.rglob("*"))
        listed = [path.as_posix() for path in found if not UNTRACKED & set(path.parts) and ".egg" not in path.name]
    return sorted(path for path in listed if path and (ROOT / path).is_file())


@functools.cache
def sources() -> tuple[Source, ...]:
    """Every tracked file, read once."""
    return tuple(
        Source(path, (ROOT / path).read_bytes().decode("utf-8", "surrogateescape")) for path in tracked_paths()
    )


def listing(findings: Iterable[Finding]) -> str:
    """One finding a line, for the message of a failure."""
    return "\n" + "\n".join(map(str, findings))


def name_of(item: object) -> str:
    """A rule's name as the id of its case."""
    return getattr(item, "__name__", "").removeprefix("check_")


@pytest.mark.parametrize("rule", CODE_RULES + TEXT_RULES, ids=name_of)
def test_every_file_keeps_the_rule(rule: Rule) -> None:
    """No tracked file offends against a rule without a measure."""
    found = [finding for source in sources() for finding in rule(source)]
    assert not found, listing(found)


@pytest.mark.parametrize("rule", MEASURES, ids=name_of)
def test_no_measure_goes_beyond_the_ratchet(rule: Rule) -> None:
    """Sizes stay within the limits, and an exception of the ratchet only shrinks."""
    measured = [finding for source in sources() for finding in rule(source)]
    kinds = RULES_OF_MEASURE[name_of(rule)]
    ratchet = {key: value for key, value in rules.RATCHET.items() if key[0] in kinds}
    found = list(shape.beyond_ratchet(measured, ratchet))
    assert not found, listing(found)


RULES_OF_MEASURE = {
    "file_length": {"file-length"},
    "function_length": {"function-length"},
    "nesting": {"nesting"},
    "parameters": {"parameters", "positional"},
}


def test_every_ratchet_entry_belongs_to_a_measure() -> None:
    """An entry with a misspelt rule would never be checked, so there is none."""
    known = set().union(*RULES_OF_MEASURE.values())
    assert {rule for rule, _, _ in rules.RATCHET} <= known


def test_modules_do_not_import_in_a_ring() -> None:
    """The modules of the package can be put in an order in which each imports earlier ones only."""
    found = list(rules.import_cycles(sources()))
    assert not found, listing(found)


def test_every_broad_except_home_has_a_reason_and_a_broad_except() -> None:
    """The allow-list holds what is needed today, each with a sentence."""
    trees = {source.path: source.tree for source in sources() if source.is_ours}
    for path, reason in rules.BROAD_EXCEPT_HOMES.items():
        assert len(reason.split()) >= 5, f"{path}: say why in a sentence"
        assert path in trees, f"{path} is gone: remove the entry"
        assert any(rules.broad_excepts(trees[path])), f"{path} has no broad except: remove the entry"


BODY = '"""Text."""\n'
LONG = "def f() -> None:\n" + "    g()\n" * 71
DEEP = "def f(x):\n  if x:\n    for y in x:\n      with y:\n        while y:\n          y()\n"
BRANCHES = "def f(x):\n    if x:\n        return\n" + "    elif x.y:\n        return\n" * 5
INDEX_HOST = "https://" + "py" + "pi.org/simple"
HOME_PATH = "cd /" + "ro" + "ot/agora"
REMARK = "# TO" + "DO: later"

# rule, planted file, its text, the name of the finding
PLANTED: tuple[tuple[Rule, str, str, str], ...] = (
    (rules.check_ranks, "agora/domain/a.py", "from agora.engine import step", "ranks"),
    (rules.check_ranks, "agora/domain/a.py", "import agora.engine.step", "ranks"),
    (rules.check_ranks, "agora/domain/a.py", "from ..engine import step", "ranks"),
    (rules.check_ranks, "agora/domain/__init__.py", "from ..kernels.fills import advance", "ranks"),
    (rules.check_ranks, "agora/risk/a.py", "from agora.venues.local import Venue", "ranks"),
    (rules.check_ranks, "agora/config.py", "from agora.assembly import build", "ranks"),
    (rules.check_ranks, "agora/a.py", "from agora import domain", "ranks"),
    (rules.check_ranks, "agora/__init__.py", "from agora.cli import main", "ranks"),
    (rules.check_function_imports, "agora/risk/a.py", "def f():\n    import json", "function-import"),
    (
        rules.check_function_imports,
        "agora/risk/a.py",
        "class C:\n  def f(s):\n    from a import b",
        "function-import",
    ),
    (rules.check_bans, "agora/engine/a.py", "import time\ntime.time()", "clock"),
    (rules.check_bans, "agora/engine/a.py", "import time as t\nclock = t.monotonic_ns", "clock"),
    (rules.check_bans, "agora/engine/a.py", "from time import perf_counter\nperf_counter()", "clock"),
    (
        rules.check_bans,
        "agora/session/runner.py",
        "from datetime import datetime, UTC\ndatetime.now(UTC)",
        "clock",
    ),
    (rules.check_bans, "agora/engine/a.py", "import datetime\ndatetime.date.today()", "clock"),
    (rules.check_bans, "agora/report/a.py", "import psutil\npsutil.boot_time()", "clock"),
    (rules.check_bans, "agora/engine/a.py", "print('x')", "print"),
    (rules.check_bans, "agora/session/clock.py", "import time\ntime.sleep(1)", "sleep"),
    (rules.check_bans, "agora/engine/a.py", "import random\nrandom.random()", "randomness"),
    (rules.check_bans, "agora/kernels/a.py", "import numpy as np\nnp.random.normal()", "randomness"),
    (rules.check_bans, "agora/engine/a.py", "from numpy import random\nrandom.shuffle(x)", "randomness"),
    (rules.check_bans, "agora/engine/a.py", "from uuid import uuid4\nuuid4()", "randomness"),
    (rules.check_bans, "agora/session/a.py", "import secrets\nsecrets.token_hex()", "secrets"),
    (rules.check_bans, "agora/session/a.py", "import os\nos.environ['A']", "environment"),
    (rules.check_bans, "agora/session/a.py", "from os import getenv\ngetenv('A')", "environment"),
    (rules.check_bans, "agora/session/a.py", "import asyncio\nasyncio.create_task(f())", "loose-task"),
    (rules.check_bans, "agora/session/a.py", "import asyncio\nasyncio.ensure_future(f())", "loose-task"),
    (rules.check_bans, "agora/engine/a.py", "eval('1')", "code-from-text"),
    (rules.check_bans, "agora/engine/a.py", "import pickle\npickle.loads(b'')", "code-from-text"),
    (rules.check_loop_calls, "agora/venues/a.py", "asyncio.get_running_loop().time()", "clock"),
    (rules.check_loop_calls, "agora/session/clock.py", "self._loop.create_task(f())", "loose-task"),
    (rules.check_seeds, "agora/traders/a.py", "import numpy as np\nnp.random.default_rng()", "randomness"),
    (rules.check_seeds, "agora/traders/a.py", "from random import Random\nRandom()", "randomness"),
    (rules.check_broad_excepts, "agora/session/a.py", "try:\n    f()\nexcept:\n    g()", "broad-except"),
    (
        rules.check_broad_excepts,
        "agora/a/a.py",
        "try:\n    f()\nexcept (E, Exception):\n    g()",
        "broad-except",
    ),
    (
        rules.check_broad_excepts,
        "agora/a/a.py",
        "with contextlib.suppress(Exception):\n    f()",
        "broad-except",
    ),
    (rules.check_async_homes, "agora/engine/step.py", "async def f(): ...", "async-home"),
    (rules.check_async_homes, "agora/report/a.py", "class C:\n    async def f(self): ...", "async-home"),
    (shape.check_stubs, "agora/risk/a.py", "def f():\n    pass", "stub"),
    (shape.check_stubs, "agora/risk/a.py", "for x in y:\n    if x:\n        pass", "stub"),
    (shape.check_stubs, "agora/risk/a.py", "def f():\n    raise NotImplementedError('x')", "stub"),
    (shape.check_function_length, "agora/risk/a.py", LONG, "function-length"),
    (shape.check_file_length, "tests/test_a.py", "x = 1\n" * 601, "file-length"),
    (shape.check_parameters, "agora/risk/a.py", "def f(a, *, b, c, d, e, f): ...", "parameters"),
    (shape.check_parameters, "agora/risk/a.py", "def f(a, b, c, d): ...", "positional"),
    (shape.check_parameters, "agora/risk/a.py", "class C:\n    def f(self, a, b, c, d): ...", "positional"),
    (shape.check_parameters, "agora/kernels/a.py", "def create(a, b, c, d): ...", "positional"),
    (shape.check_nesting, "agora/risk/a.py", DEEP, "nesting"),
    (
        shape.check_nesting,
        "agora/risk/a.py",
        DEEP.replace("if x:", "match x:\n   case _:"),
        "nesting",
    ),
    (shape.check_module_docstrings, "tests/test_a.py", "x = 1", "module-docstring"),
    (shape.check_public_docstrings, "agora/risk/a.py", "def f(): ...", "public-docstring"),
    (
        shape.check_public_docstrings,
        "agora/risk/a.py",
        "class C:\n    'x'\n    def f(self): ...",
        "public-docstring",
    ),
    (shape.check_test_habits, "tests/test_a.py", "def test_x(): ...", "test-docstring"),
    (
        shape.check_test_habits,
        "tests/a/test_a.py",
        "class TestC:\n    async def test_x(self): ...",
        "test-docstring",
    ),
    (shape.check_test_habits, "tests/test_a.py", "def test_x(monkeypatch):\n    'x'", "test-patch"),
    (shape.check_test_habits, "tests/test_a.py", "import time\ntime.sleep(1)", "test-patch"),
    (shape.check_test_habits, "tests/test_a.py", "import asyncio\nasyncio.sleep(0.1)", "test-patch"),
    (shape.check_test_habits, "tests/test_a.py", "from unittest.mock import Mock\nMock()", "test-patch"),
    (shape.check_package_files, "agora/a/b/c/d.py", BODY, "package-depth"),
    (shape.check_package_files, "agora/risk/utils.py", BODY, "module-name"),
    (shape.check_package_files, "agora/risk/__init__.py", "def f(): ...", "package-init"),
    (texts.check_file_size, "docs/a.svg", "x" * 400_001, "file-size"),
    (texts.check_leftovers, "agora/risk/a.py", REMARK, "leftover"),
    (texts.check_lock, "a.lock", "a==1 \\\n    --hash=sha256:0\nb>=1 \\\n    --hash=sha256:0", "lock"),
    (texts.check_lock, "a.lock", "# made\na==1\n    # via b\n", "lock"),
    (texts.check_lock, "a.lock", "--index-url x\na==1 \\\n    --hash=sha256:0", "lock"),
    (texts.check_named_places, "README.md", INDEX_HOST, "named-place"),
    (texts.check_named_places, "Makefile", HOME_PATH, "named-place"),
    (texts.check_readme_length, "README.md", "a\n" * 151, "readme-length"),
)


@pytest.mark.parametrize(
    "rule, path, text, name", PLANTED, ids=[f"{name_of(row[0])}-{n}" for n, row in enumerate(PLANTED)]
)
def test_each_rule_sees_a_planted_offence(rule: Rule, path: str, text: str, name: str) -> None:
    """A file that offends is reported under the rule's name, with its path and a line."""
    found = list(rule(Source(path, text)))
    assert [(finding.rule, finding.path) for finding in found] == [(name, path)], listing(found)
    assert 1 <= found[0].line <= max(1, len(text.splitlines()))


def test_every_rule_has_a_planted_offence() -> None:
    """No rule is trusted that was never seen to report anything."""
    assert {row[0] for row in PLANTED} == {*MEASURES, *CODE_RULES, *TEXT_RULES}


SPARED: tuple[tuple[Rule, str, str], ...] = (
    (
        rules.check_ranks,
        "agora/engine/a.py",
        "from agora.domain import orders\nfrom agora import __version__",
    ),
    (rules.check_ranks, "agora/engine/a.py", "from . import step\nfrom ..kernels import fills\nimport numpy"),
    (rules.check_ranks, "agora/assembly.py", "from agora.config import Settings"),
    (rules.check_ranks, "tests/test_a.py", "from agora.cli import main"),
    (rules.check_function_imports, "agora/cli.py", "def f():\n    import agora.assembly"),
    (rules.check_function_imports, "agora/session/completer.py", "def f():\n    import litellm"),
    (rules.check_bans, "agora/session/clock.py", "import time\ntime.monotonic_ns()"),
    (rules.check_bans, "agora/cli/run.py", "import os\nprint(os.environ['A'])"),
    (rules.check_bans, "agora/risk/a.py", "def f(time, random):\n    return time.time() + random.random()"),
    (rules.check_bans, "agora/risk/a.py", "import numpy as np\ndef f(chance: np.random.Generator): ..."),
    (rules.check_loop_calls, "agora/session/a.py", "group.create_task(f())\nevent.time()"),
    (rules.check_loop_calls, "agora/session/clock.py", "asyncio.get_running_loop().time()"),
    (rules.check_seeds, "agora/traders/a.py", "import numpy as np\nnp.random.default_rng(seed)"),
    (rules.check_broad_excepts, "agora/a/a.py", "try:\n    f()\nexcept (ValueError, OSError):\n    g()"),
    (rules.check_async_homes, "agora/engine/ports.py", "class Venue:\n    async def send(self): ..."),
    (shape.check_stubs, "agora/risk/a.py", "for _ in reader:\n    pass"),
    (shape.check_parameters, "agora/kernels/a.py", "@njit(cache=True)\ndef f(a, b, c, d, e, f): ..."),
    (shape.check_parameters, "agora/risk/a.py", "class C:\n    def __exit__(self, a, b, c): ..."),
    (shape.check_parameters, "agora/risk/a.py", "class C:\n    def f(self, a, b, *, c, d, e): ..."),
    (
        shape.check_parameters,
        "agora/cli.py",
        "def register(app):\n    app.command(epilog=1)(run)\ndef run(a, b, c, d, e, f): ...",
    ),
    (
        shape.check_function_length,
        "agora/risk/a.py",
        LONG.replace("    g()\n" * 9, '    """' + "x\n" * 9 + '"""\n', 1),
    ),
    (shape.check_nesting, "agora/risk/a.py", BRANCHES),
    (shape.check_public_docstrings, "agora/risk/a.py", "def _f(): ...\nclass _C:\n    def f(self): ..."),
    (
        shape.check_test_habits,
        "tests/test_a.py",
        "import asyncio\nasync def f():\n    await asyncio.sleep(0)",
    ),
    (
        shape.check_package_files,
        "agora/risk/__init__.py",
        BODY + "from agora.risk.a import b\n__all__ = ['b']",
    ),
    (
        texts.check_lock,
        "a.lock",
        "# made\na==1 \\\n    --hash=sha256:0 \\\n    --hash=sha256:1\n    # via b\n",
    ),
    (
        texts.check_named_places,
        "docs/a.md",
        "see the patchwo" + "rk/ and ./ro" + "ot/x",
    ),
)


@pytest.mark.parametrize("rule, path, text", SPARED, ids=[f"{name_of(row[0])}-{n}" for n, row in enumerate(SPARED)])
def test_no_rule_reports_what_is_allowed(rule: Rule, path: str, text: str) -> None:
    """A file that keeps the rule, or stands where the rule does not hold, is not reported."""
    found = list(rule(Source(path, text)))
    assert not found, listing(found)


def test_a_planted_ring_of_imports_is_seen() -> None:
    """A ring is reported once, with its members; a chain is not."""
    chain = [
        Source("agora/domain/a.py", "from agora.domain import b"),
        Source("agora/domain/b.py", "import json"),
    ]
    assert not list(rules.import_cycles(chain))
    ring = [
        *chain[:1],
        Source("agora/domain/b.py", "from .c import x"),
        Source("agora/domain/c.py", "from . import a"),
    ]
    assert [finding.rule for finding in rules.import_cycles(ring)] == ["import-cycle"]


def test_the_ratchet_refuses_growth_and_asks_for_shrinking() -> None:
    """An entry covers today's measure exactly: more is a finding, and so is too high an entry."""
    measured = list(shape.check_function_length(Source("agora/risk/a.py", LONG)))
    key = ("function-length", "agora/risk/a.py", "f")
    assert not list(shape.beyond_ratchet(measured, {key: 72}))
    assert [finding.rule for finding in shape.beyond_ratchet(measured, {key: 71})] == ["function-length"]
    assert [finding.rule for finding in shape.beyond_ratchet(measured, {key: 73})] == ["ratchet"]
    assert [finding.rule for finding in shape.beyond_ratchet([], {key: 72})] == ["ratchet"]


def docs() -> ModuleType:
    """The generator of the documents, tools/docs.py; without it the tests of the documents fail."""
    return import_module("tools.docs")


def pins(name: str) -> dict[str, str]:
    """The version of each package in a lock."""
    return dict(texts.PIN.findall((ROOT / name).read_text()))


def test_both_locks_agree_on_every_package_they_share() -> None:
    """The environment of the tests is the environment of a run with packages added, none changed."""
    runtime, development = pins("requirements.lock"), pins("requirements-dev.lock")
    shared = runtime.keys() & development.keys()
    assert {name: runtime[name] for name in shared} == {name: development[name] for name in shared}
    assert runtime.keys() >= {"numba", "numpy", "typer"}
    assert development.keys() >= {"pytest", "ruff", "mypy"}


def test_the_lock_is_made_from_the_dependencies_that_the_project_declares() -> None:
    """pyproject.toml, requirements.in and the lock name the same packages, but for the build backend."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    declared = set(project["project"]["dependencies"])
    lines = (ROOT / "requirements.in").read_text().splitlines()
    asked = {line.split("#")[0].strip() for line in lines} - {""}
    assert asked == declared | {"flit-core"}
    names = {re.split(r"[<>=!~ \[]", item)[0] for item in asked}
    assert names <= pins("requirements.lock").keys()


@pytest.mark.requirement("R10")
def test_the_type_checker_is_strict_on_the_whole_package_and_part_of_the_tests() -> None:
    """Strict, run by `make test`; kernels alone are excused, from one rule; an ignored error names its kind."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    assert settings["strict"] is True
    excused = [each for each in settings.get("overrides", []) if any(m.startswith("agora") for m in each["module"])]
    assert excused == [{"module": ["agora.kernels.*"], "disallow_untyped_decorators": False}]
    assert re.search(r"^test:.*\n(\t.*\n)*\t.*\$\(BIN\)/mypy", (ROOT / "Makefile").read_text(), re.MULTILINE)
    bare = [path for path in ROOT.glob("agora/**/*.py") if re.search(r"type: ignore(?!\[)", path.read_text())]
    assert bare == []


def test_the_pipeline_runs_what_the_readme_tells_a_reader_to_run() -> None:
    """.ci/run ends in `make test`, is executable, and the Makefile has every promised target."""
    script = ROOT / ".ci" / "run"
    assert script.read_text().rstrip().endswith("\nmake test")
    assert os.access(script, os.X_OK)
    targets = set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert targets >= {"bench", "clean", "docs", "help", "run", "test"}


@pytest.mark.requirement("B43")
@pytest.mark.requirement("B70")
def test_the_reference_is_what_the_code_says_today() -> None:
    """Commands, flags, settings, event kinds and exit codes stand in docs/reference.md as in the code."""
    rendered = docs().render_reference()
    written = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert written == rendered, "docs/reference.md is out of date: run make docs"


@pytest.mark.requirement("B69")
def test_the_traceability_table_is_what_the_tests_say_today() -> None:
    """docs/traceability.md names the tests that carry each requirement's mark now."""
    rendered = docs().render_traceability()
    written = (ROOT / "docs" / "traceability.md").read_text(encoding="utf-8")
    assert written == rendered, "docs/traceability.md is out of date: run make docs"


def test_no_test_reaches_another_machine() -> None:
    """A connection or a look-up of a name outside this machine fails; one to this machine does not."""
    with pytest.raises(RuntimeError, match="this machine only"):
        socket.create_connection(("192.0.2.1", 9), timeout=0.1)
    with pytest.raises(RuntimeError, match="this machine only"):
        socket.getaddrinfo("example.invalid", 80)
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()
