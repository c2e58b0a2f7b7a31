"""Writes docs/reference.md and docs/traceability.md from the code, so that neither is out of step with it.

`make docs` runs this file; tests/test_repository.py compares what is written with what is rendered.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from agora.cli.app import app
from agora.cli.manual import settings_table
from agora.config import DEFAULT_PROFILE, PROFILES
from agora.domain.errors import EXIT_CODE_MEANINGS, ExitCode
from agora.domain.events import DURABLE_TYPES, EVENT_TYPES, MARKET_TYPES, ROLES
from agora.domain.orders import LIFE_CYCLE, TERMINAL, OrderChange
from agora.engine.ending import ENDINGS
from agora.risk.breakers import BREAKERS
from agora.risk.limits import LIMITS
from agora.risk.watchdogs import WatchdogSettings, build_watchdogs
from agora.session.credentials import SECRET_VARIABLES

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference.md"
TRACEABILITY = ROOT / "docs" / "traceability.md"
REQUIREMENTS = ROOT / "tools" / "requirements.tsv"

ENVIRONMENT = {
    "AGORA_HOME": "Folder of runs, caches, locks and the kill file; `~/.agora` unless set. `make` sets it to "
    "`var` in the checkout.",
    "AGORA_<SECTION>__<KEY>": "One setting; the name of each is in the table of settings. Two underscores.",
    **{
        name: f"{text[0].upper()}{text[1:]}. Or a file that only its owner can read, in `{name}_FILE`."
        for name, text in SECRET_VARIABLES.items()
    },
    "JSON_LOGS": "`1`: every log line and the progress line are JSON objects, one a line.",
    "NUMBA_CACHE_DIR": "Where compiled kernels are kept; `AGORA_HOME/cache/numba` unless set.",
    "NUMBA_DISABLE_JIT": "`1`: the kernels run as plain Python, slowly; for debugging.",
    "AGORA_TEST_DATA": "Tests only: folder of the recordings; tests that need it skip where it is absent.",
}
# Flags of `agora run` and `agora backtest` that are short for a setting.
FLAG_SETTINGS = {
    "--venue": "run.venue",
    "--mode": "run.mode",
    "--trader": "run.trader",
    "--symbol": "run.symbol",
    "--interval": "run.interval",
    "--duration": "run.duration_minutes",
    "--max-trades": "risk.max_trades",
    "--seed": "run.seed",
    "--data": "run.data",
    "--speed": "run.speed",
    "--rest-url": "bitunix.rest_url",
    "--provider": "run.provider",
    "--fallback": "run.fallback",
    "--port": "run.port",
    "--dry-run": "risk.dry_run",
}
_FLAG_COMMANDS = ("agora run", "agora backtest")
Parameter = TyperArgument | TyperOption
_TYPE_WORDS = {"STRING": "TEXT", "FLOAT": "NUMBER", "INT": "INTEGER", "Path": "PATH"}


# The reference.


def render_reference() -> str:
    """The manual of every name that users type or programs read."""
    parts = (
        _REFERENCE_HEAD,
        "## Commands\n",
        *(_command_text(path, command) for path, command in commands()),
        "## Settings\n",
        _SETTINGS_HEAD,
        _settings_text(),
        "## Environment variables\n",
        _table(("variable", "meaning"), ((f"`{name}`", text) for name, text in ENVIRONMENT.items())),
        "## Exit codes\n",
        _EXIT_HEAD,
        _table(("code", "meaning"), ((int(code), EXIT_CODE_MEANINGS[code]) for code in ExitCode)),
        "## End reasons\n",
        _END_HEAD,
        _table(("reason", "status", "exit code"), end_reasons()),
        "## Limits, breakers, watchdogs\n",
        _rules_text(),
        "## Life cycle of an order\n",
        _LIFE_HEAD,
        _life_cycle_text(),
        "## Journal records\n",
        _EVENTS_HEAD,
        _events_text(),
    )
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


_REFERENCE_HEAD = """# Reference

Made from the code by `make docs`; do not edit. Every command, setting, environment variable, exit code,
end reason, risk rule, order status and journal record of this version.
"""
_SETTINGS_HEAD = f"""Precedence: defaults < profile < file < environment < flags. The file is
`--config FILE`, or `AGORA_HOME/config.toml` where it exists; the profile is `{DEFAULT_PROFILE}` unless named.
`agora config show` prints each value with its source, `agora config check` every fault at once. "ppm" is
millionths: 5000 ppm are 0.5 %.
"""
_EXIT_HEAD = """Of `agora run` and `agora backtest`. Every command ends with 2 when it was called wrongly.
`agora verify` and `agora replay` end with 1 when the run is not good or not identical; `agora doctor` with 3
when a run could not start.
"""
_END_HEAD = """`stopped_reason` in final_report.json. Whatever the reason, a run that ends with something left
open has exit code 6; one that would have completed but received no data or made no decision is `failed` with
exit code 5. docs/RUNBOOK.md says what to do.
"""
_LIFE_HEAD = """Rows are what an order is, columns what happens to it, cells what it is then. An empty cell:
the message says nothing new and changes nothing. A fill after an end is real money, so it counts.
"""
_EVENTS_HEAD = """One JSON object a line with `seq`, `ts_ns` (the run's clock), `wall_ns`, `kind`, `prev`,
`hash` and the fields below; `market.*` in market.jsonl, all others in events.jsonl. *Input* drives a
decision, *output* is one, a *note* is read by none. Durable records are on disk before anything that follows from them
leaves. Order records also carry `venue_id, instrument, side, type, time_in_force, price, size, reduce_only,
post_only, purpose, trader` and fills `fee`, as decimal text and words.
"""


def commands() -> Iterator[tuple[str, TyperCommand]]:
    """Every command that does something, with the words that call it, in the order of `--help`."""
    yield from _commands("agora", typer.main.get_command(app))


def _commands(path: str, command: TyperCommand | TyperGroup) -> Iterator[tuple[str, TyperCommand]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
        return
    for name, child in children.items():
        yield from _commands(f"{path} {name}", child)


def _command_text(path: str, command: TyperCommand) -> str:
    arguments = [item for item in command.params if item.param_type_name == "argument"]
    options = [item for item in command.params if item.param_type_name == "option"]
    words = [path, *(_argument_word(item) for item in arguments), *(["[OPTIONS]"] if options else [])]
    rows = [(f"`{_argument_word(item)}`", _meaning(path, item)) for item in arguments]
    rows += [(f"`{_option_word(item)}`", _meaning(path, item)) for item in options]
    example = re.sub(r"^Example: ", "", command.epilog)
    lines = [f"### {path}\n", f"`{' '.join(words)}`\n", f"{_flat(command.help)}\n", f"Example: `{example}`\n"]
    return "\n".join(lines) + ("\n" + _table(("argument or flag", "meaning"), rows) if rows else "")


def _argument_word(argument: TyperArgument) -> str:
    word = (argument.metavar or argument.name.upper()).strip("[]") + ("…" if argument.nargs == -1 else "")
    return word if argument.required else f"[{word}]"


def _option_word(option: TyperOption) -> str:
    names = ", ".join(option.opts)
    if option.is_flag:
        return names
    kind = f"{option.type} {type(option.type).__name__}"
    word = next((word for name, word in _TYPE_WORDS.items() if name in kind), "TEXT")
    return f"{names} {word}"


def _meaning(path: str, parameter: Parameter) -> str:
    text = _flat(getattr(parameter, "help", "") or "")
    setting = FLAG_SETTINGS.get((parameter.opts or [""])[0]) if path in _FLAG_COMMANDS else None
    return f"{text} Setting `{setting}`." if setting else text


def _settings_text() -> str:
    rows = settings_table()
    columns = (
        "key",
        "default",
        *(name for name in PROFILES if name != DEFAULT_PROFILE),
        "allowed",
        "meaning",
    )
    others = [name for name in PROFILES if name != DEFAULT_PROFILE]
    body = (
        (
            f"`{row['key']}`<br>`{row['environment']}`",
            _value(row["default"]),
            *(_value(row["profiles"][name]) if name in row["profiles"] else "" for name in others),
            _flat(str(row["allowed"])),
            row["meaning"],
        )
        for row in rows
    )
    return _table(columns, body)


def _value(value: object) -> str:
    if value in ((), ""):
        return "(none)"
    text = ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
    return f"`{text.lower() if isinstance(value, bool) else text}`"


def end_reasons() -> Iterator[tuple[str, str, int]]:
    """Every `stopped_reason` with its status and exit code; a breaker that is not listed stops by risk."""
    for reason in (*ENDINGS, *(name for name in BREAKERS if name not in ENDINGS)):
        status, code = ENDINGS.get(reason, ("stopped", ExitCode.RISK_STOP))
        yield f"`{reason}`", status, int(code)


def _rules_text() -> str:
    limits = _table(
        ("limit on an order (`rule` of `order.refused`)", "says"),
        ((f"`{name}`", _first_line(rule)) for name, rule in LIMITS.items()),
    )
    breakers = _table(
        ("breaker of a run", "reads"), ((f"`{name}`", _first_line(rule)) for name, rule in BREAKERS.items())
    )
    watchdogs = _table(
        ("watchdog", "bites when"),
        ((f"`{dog.name}`", _first_line(type(dog))) for dog in build_watchdogs(WatchdogSettings())),
    )
    return f"{limits}\n{breakers}\n{watchdogs}"


def _life_cycle_text() -> str:
    rows = (
        (
            f"**{status.value}**" if status in TERMINAL else status.value,
            *(found.value if (found := changes.get(change)) else "" for change in OrderChange),
        )
        for status, changes in LIFE_CYCLE.items()
    )
    return _table(("status (bold: ended)", *(change.value for change in OrderChange)), rows)


def _events_text() -> str:
    rows = (
        (
            f"`{kind}`",
            ROLES[event].value + (", market" if event in MARKET_TYPES else ""),
            "yes" if event in DURABLE_TYPES else "",
            _first_line(event),
            ", ".join(f"`{field.name}`" for field in msgspec.structs.fields(event) if field.name != "ts_ns"),
        )
        for kind, event in EVENT_TYPES.items()
    )
    return _table(("kind", "role", "durable", "meaning", "fields"), rows)


def _first_line(thing: object) -> str:
    text = inspect.getdoc(thing)
    assert text, f"{thing} has no docstring"
    return text.splitlines()[0]


def _flat(text: str) -> str:
    return " ".join(text.split())


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(_cell(cell) for cell in line) + " |\n" for line in lines)


def _cell(cell: object) -> str:
    return str(cell).replace("|", "\\|")


# Traceability.


class Requirement(NamedTuple):
    """One row of requirements.tsv: `same` ask for the same, `later` is what it waits for, if anything."""

    id: str
    title: str
    same: tuple[str, ...]
    later: str


def requirements() -> dict[str, Requirement]:
    """All requirements by id, in their order."""
    found = {}
    for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, title, same, later = line.split("\t")
            found[name] = Requirement(name, title, tuple(same.split()), later)
    return found


def marked_tests(tree: ast.Module, path: str) -> Iterator[tuple[str, str]]:
    """(requirement id, test) for each mark of a test file: on the module, a class or a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and any(getattr(name, "id", "") == "pytestmark" for name in node.targets):
            yield from ((name, path) for name in _ids_in([node.value]))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from ((name, f"{path}::{node.name}") for name in _ids_in(node.decorator_list))


def _ids_in(expressions: Iterable[ast.expr]) -> Iterator[str]:
    for expression in expressions:
        for node in ast.walk(expression):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "requirement":
                yield from (str(ast.literal_eval(argument)) for argument in node.args)


def carriers(root: Path = ROOT) -> dict[str, list[str]]:
    """The tests that carry each requirement's mark, as path::name."""
    found: dict[str, list[str]] = {}
    for path in sorted((root / "tests").rglob("test_*.py")):
        name = path.relative_to(root).as_posix()
        for requirement, test in marked_tests(ast.parse(path.read_text(encoding="utf-8"), name), name):
            found.setdefault(requirement, []).append(test)
    return {name: sorted(set(tests)) for name, tests in found.items()}


def render_traceability() -> str:
    """Each requirement with the tests that prove it, and those that no test proves yet."""
    known, carried = requirements(), carriers()
    unknown = sorted(carried.keys() - known.keys())
    assert not unknown, f"marks with ids that are in no list of requirements: {unknown}"
    twins = sum(name not in carried and bool(_proofs(known, carried, name)) for name in known)
    lines = (
        _TRACE_HEAD,
        f"Of {len(known)} ids, {len(carried)} are carried by a test; {twins} more point to one that is.\n",
        _table(("id", "working version", "=", "tests"), _trace_rows(known, carried)),
    )
    return "\n".join(lines)


_TRACE_HEAD = """# Traceability

Made from the tests' marks by `make docs`; do not edit. A test carries `@pytest.mark.requirement(ID)` when it
would fail without that requirement's working version. "=" names ids that ask for the same thing or a part of
it; an id without tests of its own points to those that have some. Where nothing is named, the requirement is
**not proven by this version**; the column says what it waits for, where that is known.
"""


def _trace_rows(known: Mapping[str, Requirement], carried: Mapping[str, list[str]]) -> Iterator[Sequence[str]]:
    for name, requirement in known.items():
        proofs = _proofs(known, carried, name)
        waits = f"waits for: {requirement.later}" if requirement.later else ""
        cell = "; ".join(filter(None, (proofs, waits))) or "no test yet"
        yield name, requirement.title, " ".join(requirement.same), cell


def _proofs(known: Mapping[str, Requirement], carried: Mapping[str, list[str]], name: str) -> str:
    """Its own tests grouped by file, else the ids of equal requirements that have some."""
    own = carried.get(name, [])
    if not own:
        twins = [other for other in known[name].same if carried.get(other)]
        return f"as {', '.join(twins)}" if twins else ""
    by_file: dict[str, list[str]] = {}
    for test in own:
        path, _, function = test.partition("::")
        by_file.setdefault(path, []).append(function or "(all)")
    return "<br>".join(f"`{path}`: {', '.join(names)}" for path, names in by_file.items())


def main() -> None:
    """Write both documents; say what changed."""
    for path, text in ((REFERENCE, render_reference()), (TRACEABILITY, render_traceability())):
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        path.write_text(text, encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {'unchanged' if text == before else 'written'}")


if __name__ == "__main__":
    main()
