"""The documents are true: their examples run, their links lead somewhere, their tables are the code's."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agora.domain.errors import ExitCode
from agora.domain.orders import LIFE_CYCLE
from agora.engine.ending import ENDINGS
from agora.kernels import fills, indicators
from agora.risk.breakers import BREAKERS
from tests.cli.commands import Answer, call
from tests.repository_rules import RANKS
from tools.docs import REQUIREMENTS, commands, marked_tests, requirements

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(path for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")))
CANDLES = 600


@dataclass(frozen=True)
class Example:
    """A line of a console block: the command without its prompt, and the exit code that the document says."""

    command: str
    code: int


def examples(path: Path) -> list[Example]:
    """The commands of a document's console blocks, in order."""
    blocks = re.findall(r"```console\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    found = []
    for line in lines:
        command, _, remark = line.partition("   # ")
        found.append(Example(command.strip(), int(remark.removeprefix("exit ")) if remark else 0))
    return found


def write_candles(path: Path) -> None:
    """Ten hours of seeded minutes with two slow swings an hour: enough for an average to cross another."""
    chance, price = random.Random(7), 60_000.0
    lines = ["open_time,open,high,low,close,volume"]
    for minute in range(CANDLES):
        drift = 20 if minute // 60 % 2 == 0 else -20
        close = price + drift + chance.gauss(0, 40)
        high, low = max(price, close) + abs(chance.gauss(0, 15)), min(price, close) - abs(chance.gauss(0, 15))
        prices = ",".join(f"{value:.1f}" for value in (price, high, low, close))
        lines.append(f"{1_735_689_600_000 + minute * 60_000},{prices},{50 + chance.random() * 50:.3f}")
        price = round(close, 1)
    path.write_text("\n".join(lines) + "\n")


@dataclass(frozen=True)
class Reader:
    """Someone who follows a document: an empty home and a folder with one file of candles."""

    folder: Path

    def does(self, example: Example) -> Answer:
        """Run a line: a plain `agora` here, anything else as a shell would."""
        words = shlex.split(example.command)
        if words[0] == "agora" and not set(example.command) & set("$|<>"):
            with contextlib.chdir(self.folder):
                return call(self.folder / "home", words[1:])
        done = subprocess.run(
            ["bash", "-c", example.command],
            cwd=self.folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        # What a shell shows of a program that a signal ended.
        code = done.returncode if done.returncode >= 0 else 128 - done.returncode
        return Answer(code, done.stdout, done.stderr)

    def _environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "AGORA_HOME": str(self.folder / "home")}


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    """The kernels are compiled before, so that what a document says of seconds does not include that."""
    fills.warm_up()
    indicators.warm_up()
    write_candles(tmp_path / "BTCUSDT-1m.csv")
    return Reader(tmp_path)


@pytest.mark.requirement("B22")
@pytest.mark.requirement("B41")
@pytest.mark.requirement("B45")
@pytest.mark.parametrize(
    "name", ["README.md", "docs/MARKET.md", pytest.param("docs/RUNBOOK.md", marks=pytest.mark.slow)]
)
def test_the_examples_do_what_the_document_says(reader: Reader, name: str) -> None:
    """Every command of the console blocks, in order, in one home, ends with the exit code written beside it."""
    found = examples(ROOT / name)
    assert len(found) >= 5
    for example in found:
        answer = reader.does(example)
        assert answer.code == example.code, f"{example.command}: {answer.code}\n{answer.out}\n{answer.err}"


def test_what_a_reader_is_told_to_type_exists() -> None:
    """Every `agora …` in a document, also outside the blocks that run, begins with the name of a command."""
    known = {tuple(path.split()[1:]) for path, _ in commands()}
    names = {words[0] for words in known}
    wrong = [
        f"{path.name}: {found}"
        for path in DOCUMENTS
        for found in re.findall(r"`agora ([^`]*)`", path.read_text(encoding="utf-8"))
        if not found.startswith(("-", "…")) and re.split(r"[ |]", found)[0] not in names
    ]
    assert not wrong


@pytest.mark.requirement("B41")
def test_the_runbook_explains_every_end_reason_and_no_other() -> None:
    """One row for each reason that a run can end with, breakers included."""
    text = (ROOT / "docs" / "RUNBOOK.md").read_text(encoding="utf-8")
    section = text.partition("## Why it stopped")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == ENDINGS.keys() | BREAKERS.keys()


@pytest.mark.requirement("B44")
def test_troubleshooting_has_a_row_for_every_exit_code() -> None:
    """Whatever a script gets back can be looked up."""
    text = (ROOT / "docs" / "TROUBLESHOOTING.md").read_text(encoding="utf-8")
    section = text.partition("## By exit code")[2].partition("\n## ")[0]
    numbers = {int(n) for row in re.findall(r"^\| ([\d, ]+) \|", section, re.MULTILINE) for n in row.split(",")}
    assert numbers >= {int(code) for code in ExitCode}


@pytest.mark.requirement("B44")
def test_troubleshooting_quotes_messages_that_the_program_has() -> None:
    """Each quoted message stands in the code, so that a search for what was printed finds its row."""
    text = (ROOT / "docs" / "TROUBLESHOOTING.md").read_text(encoding="utf-8")
    sections = text.partition("## Could not start")[2].partition("## It runs, but")[0]
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "agora").rglob("*.py"))
    # Long messages are broken over source lines: the seams go, and so does what is filled in.
    seamless = re.sub(r'"\s*\n\s*f?"', "", code)
    rows = re.findall(r"^\| (`.*?`) \|", sections, re.MULTILINE)
    assert len(rows) >= 15
    pieces = [piece.strip() for row in rows for quoted in re.findall(r"`(.*?)`", row) for piece in quoted.split("…")]
    missing = [piece for piece in pieces if len(piece) > 2 and piece not in seamless]
    assert not missing


def test_every_link_between_documents_leads_somewhere() -> None:
    """Files exist, and so do the headings that a link names."""
    broken = []
    for path in DOCUMENTS:
        for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
            if target.startswith("https://"):
                continue
            name, _, anchor = target.partition("#")
            file = (path.parent / name) if name else path
            if not file.exists() or (anchor and anchor not in set(anchors(file))):
                broken.append(f"{path.relative_to(ROOT)}: {target}")
    assert not broken


def anchors(path: Path) -> Iterator[str]:
    """The anchors of a document's headings, as a renderer makes them."""
    for heading in re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def design_table(first_cell: str) -> list[list[str]]:
    """The rows of the table in docs/DESIGN.md whose head begins so."""
    text = (ROOT / "docs" / "DESIGN.md").read_text(encoding="utf-8")
    found = re.search(rf"^\| {first_cell} \|.*\n\| --- .*\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert found is not None
    return [[cell.strip() for cell in line.strip("|\n").split("|")] for line in found[1].splitlines()]


def test_the_ranks_in_the_design_are_those_that_are_enforced() -> None:
    """The same packages in the same order; what does not exist yet is not drawn."""
    drawn = [set(re.findall(r"`(\w+)`", row[0])) for row in design_table("packages, lowest first")]
    existing = {path.stem for path in (ROOT / "agora").iterdir() if not path.name.startswith("_")}
    ranks = sorted({RANKS[name] for name in RANKS if name in existing})
    assert drawn == [{name for name, rank in RANKS.items() if rank == each and name in existing} for each in ranks]


def test_the_life_cycle_in_the_design_is_the_one_that_runs() -> None:
    """Every status, and what it can become."""
    drawn = {row[0]: set(row[1].split(", ")) - {"nothing"} for row in design_table("status")}
    assert drawn == {
        status.value: {later.value for later in changes.values()} for status, changes in LIFE_CYCLE.items()
    }


@pytest.mark.requirement("B69")
def test_the_list_of_requirements_is_sound() -> None:
    """Ids are unique, and each "same as" names another id of the list."""
    lines = [line for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    known = requirements()
    assert len(known) == len(lines) == 118
    assert all(other in known and other != item.id for item in known.values() for other in item.same)


@pytest.mark.requirement("B69")
def test_marks_are_found_wherever_they_stand() -> None:
    """On a module, a class, a function, a row of a table; one or several ids."""
    import_line, mark = "import pytest\n", "pytest.mark.requirement"
    text = (
        f"{import_line}pytestmark = [{mark}('A1')]\n\n@{mark}('A2', 'A3')\nclass TestX:\n    @{mark}('A4')\n"
        f"    def test_y(self): ...\n\n@pytest.mark.parametrize('a', [pytest.param(1, marks={mark}('A5'))])\n"
        "def test_z(a): ...\n"
    )
    found = set(marked_tests(compile(text, "t", "exec", flags=0x400), "t.py"))
    assert found == {
        *{("A1", "t.py"), ("A2", "t.py::TestX"), ("A3", "t.py::TestX")},
        *{("A4", "t.py::test_y"), ("A5", "t.py::test_z")},
    }


def test_the_result_in_the_readme_is_what_its_command_gives(recorded_data: Path, tmp_path: Path) -> None:
    """The 51 days lose what the README says they lose, to the last digit."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    command, said = re.search(r"```text\n\$ (agora backtest .*?)\n(net .*?)```", text, re.DOTALL).groups()  # type: ignore[union-attr]
    with contextlib.chdir(recorded_data):
        answer = call(tmp_path / "home", shlex.split(command.replace("\\\n", " "))[1:])
    assert answer.code == 0
    assert " ".join(said.split()) in " ".join(answer.out.split())
