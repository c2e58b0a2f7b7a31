"""`agora config`: one tree, layers in order, a source for each value, and every fault at once."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from agora.cli.manual import settings_table
from agora.config import FILE_BYTES_MAX, PROFILES
from tests.cli.commands import call

KEY, VARIABLE = "risk.leverage_max", "AGORA_RISK__LEVERAGE_MAX"
LAYERS = (
    ("default", 3),
    ("profile cautious", 1),
    ("file", 2),
    ("environment", 4),
    ("flag", 5),
)


@pytest.mark.requirement("B6")
@pytest.mark.requirement("B9")
@pytest.mark.parametrize("upto", range(len(LAYERS)), ids=[name for name, _ in LAYERS])
def test_a_later_layer_wins_and_the_source_says_so(home: Path, upto: int) -> None:
    """Defaults < profile < file < environment < flags; each value is shown with where it came from."""
    home.mkdir()
    words, environment = ["config", "show", "--json"], {}
    if upto >= 1:
        words += ["--profile", "cautious"]
    if upto >= 2:
        (home / "config.toml").write_text("[risk]\nleverage_max = 2\n")
    if upto >= 3:
        environment = {VARIABLE: "4"}
    if upto >= 4:
        words += ["--set", f"{KEY}=5"]
    shown = call(home, words, environment).facts
    source, value = LAYERS[upto]
    assert shown[KEY]["value"] == value
    assert shown[KEY]["source"].startswith(source)
    assert shown["run.seed"] == {"value": 1, "source": "default"}


@pytest.mark.requirement("B6")
def test_a_named_file_is_read_instead_of_the_one_at_home(home: Path) -> None:
    """Relative to where the user stands; the file's name is the source."""
    home.mkdir()
    (home / "config.toml").write_text("[run]\nseed = 5\n")
    other = home.parent / "other.toml"
    other.write_text("[run]\nseed = 6\n")
    assert call(home, ["config", "show", "--json"]).facts["run.seed"]["value"] == 5
    shown = call(home, ["config", "show", "--json", "--config", str(other)]).facts["run.seed"]
    assert shown == {"value": 6, "source": f"file {other}"}


@pytest.mark.requirement("B9")
def test_every_setting_can_be_set_by_flag_and_by_its_variable(home: Path) -> None:
    """The default of each key, given as text on the command line or in the environment, is accepted."""
    for row in settings_table():
        text = ",".join(row["default"]) if isinstance(row["default"], tuple) else str(row["default"]).lower()
        text = str(row["default"]) if isinstance(row["default"], str) else text
        for words, environment in (
            (["--set", f"{row['key']}={text}"], {}),
            ([], {row["environment"]: text}),
        ):
            shown = call(home, ["config", "show", "--json", *words], environment)
            assert shown.code == 0, f"{row['key']}: {shown.err}"
            source = "flag" if words else "environment"
            assert shown.facts[row["key"]]["source"] == source


@pytest.mark.requirement("B14")
def test_all_faults_are_listed_at_once_with_key_value_range_and_source(home: Path) -> None:
    """Faults of a file, of the environment and of flags, of values and of keys, in one answer; exit code 2."""
    file = home.parent / "bad.toml"
    file.write_text('[risk]\nleverage_max = 500\nnosuch = 1\n[paper]\nlatency_model = "psychic"\n')
    words = ["config", "check", "--config", str(file), "--set", "run.seed=-1", "--set", "nowhere.x=1"]
    said = call(home, [*words, "--json"], {"AGORA_RUN__EQUITY": "lots"})
    assert said.code == 2
    faults = {fault["key"]: fault for fault in said.facts["faults"]}
    assert faults.keys() == {
        *("risk.leverage_max", "risk.nosuch", "paper.latency_model", "run.seed", "nowhere.x", "run.equity")
    }
    assert faults["risk.leverage_max"]["value"] == "500"
    assert "≥ 1 ≤ 125" in faults["risk.leverage_max"]["allowed"]
    assert faults["risk.leverage_max"]["source"] == f"file {file}"
    assert faults["run.equity"]["source"] == "environment"
    assert faults["run.seed"]["source"] == "flag"
    text = call(home, words, {"AGORA_RUN__EQUITY": "lots"})
    assert text.code == 2
    assert all(key in text.out for key in faults)


@pytest.mark.requirement("P4.1")
@pytest.mark.parametrize(
    "pair",
    ["run.mode=real", "run.venue=kraken", "run.venue=testnet:kraken", "run.trader=oracle", "paper.latency_model=none"],
)
def test_settings_cannot_claim_what_does_not_exist(home: Path, pair: str) -> None:
    """A mode, venue, trader or model that is not built is a fault, not a silent default."""
    assert call(home, ["config", "check", "--set", pair]).code == 2


def test_an_unknown_profile_names_those_that_exist(home: Path) -> None:
    """Exit code 2 for every command that takes one."""
    for words in (["config", "check", "--profile", "bold"], ["config", "init", "--profile", "bold"]):
        said = call(home, words)
        assert said.code == 2
        assert all(name in said.out + said.err for name in PROFILES)


@pytest.mark.requirement("B23")
@pytest.mark.requirement("B42")
@pytest.mark.parametrize("profile", PROFILES)
def test_the_file_of_a_profile_is_good_and_means_the_profile(home: Path, profile: str) -> None:
    """`config init` writes what `config check` accepts, with the profile's own values and every key explained."""
    path = home.parent / "mine.toml"
    assert call(home, ["config", "init", str(path), "--profile", profile]).out.strip() == str(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert call(home, ["config", "check", "--config", str(path)]).code == 0
    of_file = call(home, ["config", "show", "--json", "--config", str(path)]).facts
    of_profile = call(home, ["config", "show", "--json", "--profile", profile]).facts
    assert {key: fact["value"] for key, fact in of_file.items()} == {
        key: fact["value"] for key, fact in of_profile.items()
    }
    assert {key for key, fact in of_file.items() if fact["source"] != "default"} == PROFILES[profile].keys()
    text = path.read_text()
    assert all(f"{row['key'].split('.')[1]} = " in text and row["meaning"] in text for row in settings_table())


@pytest.mark.requirement("B23")
def test_a_file_with_every_comment_taken_away_is_good_too(home: Path) -> None:
    """The values shown in comments are the defaults, written as the file wants them."""
    path = home.parent / "mine.toml"
    call(home, ["config", "init", str(path)])
    lines = [line.removeprefix("# ") for line in path.read_text().splitlines()]
    keys = [line for line in lines if line.startswith("[") or (" = " in line and "(" not in line.split(" = ")[0])]
    path.write_text("\n".join(keys))
    defaults = {row["key"]: row["default"] for row in settings_table()}
    tables = tomllib.loads(path.read_text())
    written = {f"{section}.{key}": value for section, table in tables.items() for key, value in table.items()}
    assert written.keys() == defaults.keys()
    assert call(home, ["config", "check", "--config", str(path)]).code == 0


def test_an_existing_file_is_overwritten_only_when_forced(home: Path) -> None:
    """A person's settings are not lost to a second `init`."""
    path = home.parent / "mine.toml"
    path.write_text("mine")
    assert call(home, ["config", "init", str(path)]).code == 2
    assert path.read_text() == "mine"
    assert call(home, ["config", "init", str(path), "--force"]).code == 0
    assert path.read_text() != "mine"


@pytest.mark.parametrize(
    "content", [b"[risk", b"\xff\xfe", b"x" * (FILE_BYTES_MAX + 1), b"[risk]\nleverage_max = nan\n", b"risk = 3\n"]
)
def test_a_file_that_is_none_is_refused(home: Path, content: bytes) -> None:
    """Exit code 2 and a message for what is cut, binary, huge, not finite or not a table."""
    path = home.parent / "bad.toml"
    path.write_bytes(content)
    said = call(home, ["config", "check", "--config", str(path)])
    assert said.code == 2
    assert said.out.strip()


def test_the_schema_describes_every_setting(home: Path) -> None:
    """Type, range, default and meaning of each; the manual is made of the same table."""
    rows = call(home, ["config", "schema", "--json"]).facts
    assert [row["key"] for row in rows] == [row["key"] for row in settings_table()]
    assert all(row["meaning"] and row["allowed"] and row["environment"] for row in rows)
