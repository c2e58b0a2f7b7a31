"""The settings tree itself: layers, sources, ranges, and every fault at once."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agora.config import (
    FILE_BYTES_MAX,
    PROFILES,
    SECTIONS,
    TRADERS,
    Config,
    ConfigFaults,
    allowed,
    description,
    load_config,
    template,
)
from agora.domain.errors import ExitCode, UsageFault
from agora.domain.numbers import money_units

KEYS = [(section, field) for section, kind in SECTIONS.items() for field in msgspec.structs.fields(kind)]
KEY_NAMES = [f"{section}.{field.name}" for section, field in KEYS]


def loaded(tmp_path: Path, *, file: str = "", environment: dict[str, str] | None = None, **facts: Any) -> Config:
    """The tree with a file, an environment and flags."""
    path = None
    if file:
        path = tmp_path / "settings.toml"
        path.write_text(file)
    flags, pairs = facts.pop("flags", {}), facts.pop("pairs", [])
    return load_config(environment or {}, flags, pairs, file=path, **facts)


def faults_of(tmp_path: Path, **facts: Any) -> dict[str, tuple[str, str, str]]:
    """What is wrong: key → (value, allowed, source)."""
    with pytest.raises(ConfigFaults) as caught:
        loaded(tmp_path, **facts)
    assert caught.value.exit_code is ExitCode.USAGE
    return {fault.key: (fault.value, fault.allowed, fault.source) for fault in caught.value.faults}


@pytest.mark.requirement("B6")
@pytest.mark.requirement("B9")
def test_each_layer_wins_over_those_before_it(tmp_path: Path) -> None:
    """Default < profile < file < environment < flag, and the source of the value says which it was."""
    layers: list[tuple[dict[str, Any], int, str]] = [
        ({}, 3, "default"),
        ({"profile": "cautious"}, 1, "profile cautious"),
        ({"file": "[risk]\nleverage_max = 7\n"}, 7, f"file {tmp_path / 'settings.toml'}"),
        ({"environment": {"AGORA_RISK__LEVERAGE_MAX": "8"}}, 8, "environment"),
        ({"pairs": ["risk.leverage_max=9"]}, 9, "flag"),
    ]
    facts: dict[str, Any] = {}
    for fact, value, source in layers:
        facts |= fact
        config = loaded(tmp_path, **facts)
        assert config["risk"].leverage_max == value
        assert config.sources["risk.leverage_max"] == source
        assert config.sources["run.seed"] == "default"


def test_a_file_may_name_its_profile_and_a_flag_names_another(tmp_path: Path) -> None:
    """The profile of the file counts where none is asked for."""
    text = 'profile = "aggressive"\n'
    assert loaded(tmp_path, file=text)["risk"].leverage_max == 5
    assert loaded(tmp_path, file=text, profile="cautious")["risk"].leverage_max == 1


@pytest.mark.requirement("B14")
def test_all_faults_come_at_once_with_value_range_and_source(tmp_path: Path) -> None:
    """From four sources, of values, keys, sections, combinations and meanings: one answer."""
    found = faults_of(
        tmp_path,
        file='[risk]\nleverage_max = 999\nlever = 1\n[run]\nspeed = "fast"\nequity = "none"\n',
        environment={"AGORA_PAPER__LATENCY_MS_MIN": "900", "AGORA_NOWHERE__X": "1"},
        flags={"run.trader": ["oracle"]},
        pairs=["run.duration_minutes=-1", "run.data=a.csv"],
    )
    source = f"file {tmp_path / 'settings.toml'}"
    assert found["risk.leverage_max"] == ("999", found["risk.leverage_max"][1], source)
    assert "≥ 1 ≤ 125" in found["risk.leverage_max"][1]
    assert "leverage_max" in found["risk.lever"][1]
    assert found["nowhere.x"][1:] == ("unknown key; no such section", "environment")
    assert {"run.speed", "run.equity", "run.duration_minutes", "paper"} <= set(found)
    assert "latency_ms_max 500 is below latency_ms_min 900" in found["paper"][1]
    assert found["run.duration_minutes"][2] == "flag"


@pytest.mark.requirement("B14")
@pytest.mark.requirement("P4.1")
@pytest.mark.parametrize(
    "facts, key, source",
    [
        pytest.param({"flags": {"run.trader": ["oracle"]}}, "run.trader", "flag", id="a trader nobody wrote"),
        pytest.param({"flags": {"run.venue": "recorded"}}, "run.data", "default", id="recorded without data"),
        pytest.param(
            {"flags": {"run.data": ["a.csv"], "run.venue": "local"}}, "run.data", "flag", id="data without use"
        ),
        pytest.param({"environment": {"AGORA_RUN__SPEED": "0"}}, "run.speed", "environment", id="no speed"),
        pytest.param(
            {"flags": {"run.mode": "live"}, "pairs": ["run.venue=local"]}, "run.mode", "flag", id="live at home"
        ),
        pytest.param({"pairs": ["run.venue=bitunix", "run.speed=2"]}, "run.speed", "flag", id="the venue's time"),
        pytest.param({"pairs": ["run.venue=bitunix", "run.data=a"]}, "run.data", "flag", id="data for a venue"),
        pytest.param({"pairs": ["run.venue=local", "run.fallback=local"]}, "run.fallback", "flag", id="no way to fall"),
        pytest.param(
            {"pairs": ["run.venue=bitunix", "run.fallback=recorded"]}, "run.data", "default", id="fallback without data"
        ),
        pytest.param(
            {"pairs": ["run.venue=testnet", "run.mode=live", "run.fallback=local"]},
            *("run.fallback", "flag"),
            id="live never falls back",
        ),
        pytest.param(
            {"pairs": ["run.venue=bitunix", "run.mode=live", "run.provider=ccxt:kraken"]},
            *("run.provider", "flag"),
            id="live on others' data",
        ),
        pytest.param({"pairs": ["run.provider=bitunix", "run.venue=local"]}, "run.provider", "flag", id="no provider"),
        pytest.param(
            {"environment": {"AGORA_BITUNIX__REST_URL": "http://me:canary@h"}},
            *("bitunix.rest_url", "environment"),
            id="a password in an address",
        ),
    ],
)
def test_faults_of_meaning_are_faults_like_others(tmp_path: Path, facts: dict[str, Any], key: str, source: str) -> None:
    """With key, value and source, in one list with the rest."""
    found = faults_of(tmp_path, **facts)
    assert set(found) == {key}
    assert found[key][2] == source


@pytest.mark.requirement("B14")
@pytest.mark.parametrize(
    "pair",
    [
        "run.duration_minutes=nan",
        "run.duration_minutes=inf",
        "run.duration_minutes=-0.1",
        "run.seed=-1",
        "run.seed=1.5",
        "run.seed=9223372036854775808",
        "run.seed=",
        "run.equity=0",
        "run.equity=-5",
        "run.equity=1e9",
        "run.equity=nan",
        "run.interval=7s",
        "run.speed=-1",
        "run.speed=nan",
        "run.symbol=",
        "run.symbol=BTCUSDT,ETHUSDT,BTCUSDT",
        "run.trader=trend,ema_cross,trend=0.5",
        "run.trader=trend@7s",
        "run.trader=trend=0",
        "run.trader=trend=1.5",
        "run.trader=" + ",".join(f"{name}@{length}" for name in TRADERS for length in ("1s", "5s", "1m", "5m", "1h")),
        "run.symbol=" + ",".join(f"A{number}USDT" for number in range(9)),
        "run.venue=kraken",
        "run.mode=real",
        "run.provider=ccxt:",
        "run.fallback=testnet",
        "run.port=65536",
        "bitunix.rest_url=fapi.bitunix.com",
        "risk.dry_run=maybe",
        "risk.position_notional_max=1.123456789",
        "risk.leverage_max=0",
        "local.start_price=nan",
        "local.start_price=0",
        "local.daily_volatility=inf",
        "paper.half_spread_bps=nan",
        "paper.latency_model=psychic",
        "journal.segment_mb=0",
    ],
)
def test_impossible_values_are_faults_of_their_key(tmp_path: Path, pair: str) -> None:
    """Words, infinities, NaN and values out of range: one fault, naming the key and what is allowed."""
    found = faults_of(tmp_path, pairs=[pair])
    key = pair.partition("=")[0]
    assert list(found) == [key]
    assert found[key][1]


def test_every_wrong_trader_is_a_fault_of_its_own() -> None:
    """With what is allowed for it, and where it came from."""
    with pytest.raises(ConfigFaults) as caught:
        load_config({}, {"run.trader": ["trend", "oracle", "trend=0.5", "ema_cross@2s"]}, [])
    found = [(fault.key, fault.value, fault.source) for fault in caught.value.faults]
    assert found == [("run.trader", repr(text), "flag") for text in ("oracle", "trend=0.5", "ema_cross@2s")]


def test_several_traders_and_instruments_are_read_from_flags_and_text() -> None:
    """Repeated flags, or one text with commas, as in the environment and `--set`."""
    flags = load_config({}, {"run.trader": ["trend", "ema_cross@15s=0.5"], "run.symbol": ["BTCUSDT", "ETHUSDT"]}, [])
    text = load_config({}, {}, ["run.trader=trend,ema_cross@15s=0.5", "run.symbol=BTCUSDT,ETHUSDT"])
    assert flags["run"] == text["run"]
    assert [(entry.label, entry.weight_ppm) for entry in text["run"].roster] == [
        ("trend", 1_000_000),
        ("ema_cross@15s", 500_000),
    ]


@pytest.mark.parametrize("pair", ["run.seed", "seed=1", "run.seed:1", "", "=", "run.=1", "run.seed.x=1"])
def test_a_set_flag_of_another_shape_is_refused(tmp_path: Path, pair: str) -> None:
    """The words say what is wanted."""
    with pytest.raises(UsageFault, match=r"section\.key=value"):
        loaded(tmp_path, pairs=[pair])


@pytest.mark.parametrize("section, field", KEYS, ids=KEY_NAMES)
def test_every_default_is_inside_its_own_range_and_explained(section: str, field: Any) -> None:
    """Converted like a value of a user, it is accepted unchanged; range and meaning have words."""
    plain = msgspec.to_builtins(field.default)
    assert msgspec.convert(plain, field.type) == field.default, section
    assert allowed(field.type)
    assert len(description(field.type)) > 3


@pytest.mark.requirement("B23")
@pytest.mark.requirement("B42")
@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_valid_known_and_consistent(tmp_path: Path, profile: str) -> None:
    """Each key exists; an order as large as the sizing may ask for fits the limits of the same profile."""
    assert set(PROFILES[profile]) <= set(KEY_NAMES)
    config = loaded(tmp_path, profile=profile)
    risk, sizing, run = config["risk"], config["sizing"], config["run"]
    assert sizing.leverage <= risk.leverage_max
    equity = money_units(run.equity)
    largest = equity * sizing.leverage * sizing.notional_fraction_ppm_max // 1_000_000
    assert largest <= money_units(risk.order_notional_max)
    assert largest <= money_units(risk.position_notional_max)
    assert sizing.risk_fraction_ppm * 4 < risk.daily_drawdown_max_ppm <= risk.loss_fraction_max_ppm


def test_profiles_are_ordered_by_what_they_risk(tmp_path: Path) -> None:
    """Cautious risks less than balanced, balanced less than aggressive, in each figure a profile names."""
    trees = [loaded(tmp_path, profile=name) for name in ("cautious", "balanced", "aggressive")]
    for key in sorted(set(PROFILES["cautious"]) | set(PROFILES["aggressive"])):
        section, _, name = key.partition(".")
        figures = [float(getattr(tree[section], name)) for tree in trees]
        assert figures == sorted(figures), key
        assert figures[0] < figures[-1], key


@pytest.mark.parametrize("profile", PROFILES)
def test_the_template_of_a_profile_means_the_profile(tmp_path: Path, profile: str) -> None:
    """Read back, also with every commented line in force, it gives the profile's own settings."""
    text = template(SECTIONS, profile)
    wanted = loaded(tmp_path, profile=profile).config_hash()
    assert loaded(tmp_path, file=text).config_hash() == wanted
    lines = text.splitlines()
    keys = {name.partition(".")[2] for name in KEY_NAMES}
    in_force = [line.removeprefix("# ") if line.removeprefix("# ").split(" = ")[0] in keys else line for line in lines]
    tree = tomllib.loads("\n".join(in_force))
    assert sum(len(table) for table in tree.values()) == len(KEY_NAMES)
    assert loaded(tmp_path, file="\n".join(in_force)).config_hash() == wanted


def test_the_hash_is_of_the_values_and_nothing_else(tmp_path: Path) -> None:
    """The same values from another layer have the same hash; one other value has another."""
    first = loaded(tmp_path, pairs=["run.seed=5"])
    assert loaded(tmp_path, environment={"AGORA_RUN__SEED": "5"}).config_hash() == first.config_hash()
    assert loaded(tmp_path, pairs=["run.seed=6"]).config_hash() != first.config_hash()


def test_variables_of_others_are_left_alone(tmp_path: Path) -> None:
    """Without the double underscore, or without our prefix, a variable is no setting."""
    environment = {"AGORA_HOME": "/x", "AGORA_TEST_DATA": "/y", "PATH": "/z", "OTHER__KEY": "1"}
    assert loaded(tmp_path, environment=environment).config_hash() == loaded(tmp_path).config_hash()


@pytest.mark.parametrize(
    "name, content",
    [
        ("not TOML", b"[risk"),
        ("not text", b"\xff\xfe\x00"),
        ("a novel", b"#" * (FILE_BYTES_MAX + 1)),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    """Also one that is missing, or a folder."""
    path = tmp_path / "settings.toml"
    path.write_bytes(content)
    for wrong in (path, tmp_path / "none.toml", tmp_path):
        with pytest.raises(UsageFault, match=wrong.name):
            load_config({}, {}, [], file=wrong)
    assert name


def test_a_key_outside_any_section_is_a_fault(tmp_path: Path) -> None:
    """Of a file: a bare key that is no profile."""
    assert "seed" in faults_of(tmp_path, file="seed = 3\n")


def test_an_unknown_profile_names_the_known_ones(tmp_path: Path) -> None:
    """As a fault among others."""
    found = faults_of(tmp_path, profile="bold", pairs=["run.seed=-1"])
    assert set(found) == {"profile", "run.seed"}
    assert all(name in found["profile"][1] for name in PROFILES)
