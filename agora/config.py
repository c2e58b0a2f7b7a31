"""One settings tree: composed from the settings beside the code, loaded in layers, every fault listed at once.

Precedence: defaults < profile < file < environment < flags. The effective value of each key keeps its source. Nothing
reads the environment after this.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from agora.domain.errors import UsageFault
from agora.engine.account_settings import AccountSettings
from agora.market.population_settings import PopulationSettings
from agora.market.settings import MarketSettings
from agora.risk.breakers import BreakerSettings
from agora.risk.limits import LimitSettings
from agora.risk.watchdogs import WatchdogSettings
from agora.session.credentials import MASK, Secret, is_secret_variable, masked_url
from agora.session.llm_settings import LlmSettings
from agora.testnet.bitunix_settings import BitunixTestnetSettings
from agora.traders.roster import Entry, read_roster, roster_faults
from agora.traders.sizing import SizingSettings
from agora.traders.trend_settings import TrendSettings
from agora.venues.bitunix.settings import BitunixSettings
from agora.venues.local import LocalSettings
from agora.venues.paper_settings import PaperSettings
from agora.venues.provider_settings import PROVIDER_PATTERN, ProviderSettings

ENV_PREFIX = "AGORA_"
ENV_SEPARATOR = "__"
# A settings file of a person has a hundred lines; a megabyte is something else.
FILE_BYTES_MAX = 1_000_000
INTERVALS_S = {"1s": 1, "5s": 5, "15s": 15, "30s": 30, "1m": 60, "5m": 300, "15m": 900, "1h": 3_600}


class RunSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is run, where and for how long."""

    venue: Annotated[
        str,
        Meta(
            pattern="^(local|recorded|testnet|testnet:bitunix|bitunix)$",
            description="local (needs nothing), recorded (needs data), testnet (a venue on this machine) or bitunix",
        ),
    ] = "testnet"
    mode: Annotated[
        str,
        Meta(
            pattern="^(auto|paper|live)$",
            description="paper: fills are ours, live: orders go to the venue; auto: live on a testnet that has neither "
            "provider nor fallback, else paper",
        ),
    ] = "auto"
    provider: Annotated[
        str,
        Meta(
            pattern=PROVIDER_PATTERN,
            description="market data of a paper run on testnet or bitunix: bitunix, recorded, ccxt:EXCHANGE; "
            "empty: the venue's",
        ),
    ] = ""
    fallback: Annotated[
        str,
        Meta(
            pattern="^(none|local|recorded)$",
            description="what a paper run trades on when the venue cannot be reached at its start: local, recorded",
        ),
    ] = "none"
    trader: Annotated[
        tuple[str, ...],
        Meta(
            min_length=1,
            max_length=8,
            description="the traders: NAME, or NAME@INTERVAL=WEIGHT: bars of its own, entries scaled (trend@5m=0.5)",
        ),
    ] = ("trend",)
    symbol: Annotated[
        tuple[str, ...], Meta(min_length=1, max_length=8, description="the instruments, e.g. BTCUSDT")
    ] = ("BTCUSDT",)
    interval: Annotated[
        str,
        Meta(
            pattern="^(auto|1s|5s|15s|30s|1m|5m|15m|1h)$",
            description="bar length; auto: of the recorded candles, else 5s",
        ),
    ] = "auto"
    duration_minutes: Annotated[
        float,
        Meta(
            ge=0,
            le=527_040,
            description="length in minutes of the run's clock; 0: the whole recording, 10 on a market without end",
        ),
    ] = 0.0
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1, description="seed of every random draw of the run")] = 1
    data: Annotated[
        tuple[str, ...],
        Meta(
            max_length=1_000,
            description="recordings or original files, for what is recorded, and the price of a testnet of our own",
        ),
    ] = ()
    speed: Annotated[
        str,
        Meta(
            pattern=r"^(max|\d{1,6}(\.\d{1,3})?)$",
            description="speed of the run's clock: a factor of real time; max: of recordings the most, else 1",
        ),
    ] = "max"
    port: Annotated[
        int, Meta(ge=-1, le=65_535, description="port of the API beside the run; 0: a free one, -1: no API")
    ] = -1
    equity: Annotated[
        str, Meta(pattern=r"^[1-9]\d{0,11}(\.\d{1,8})?$", description="starting money in the quote currency")
    ] = "10000"

    @property
    def roster(self) -> tuple[Entry, ...]:
        """The traders of the run; of settings that were checked."""
        return read_roster(self.trader, kinds=TRADERS, intervals=INTERVALS_S)

    @property
    def is_bitunix(self) -> bool:
        """Whether the venue speaks the protocol of Bitunix."""
        return self.venue == "bitunix" or self.is_testnet

    @property
    def is_testnet(self) -> bool:
        """Whether the venue is a testnet."""
        return self.venue.startswith("testnet")

    @property
    def is_live(self) -> bool:
        """Whether orders go to the venue; else they are filled on paper."""
        is_plain = self.provider in ("", "bitunix") and self.fallback == "none"
        return self.mode == "live" or (self.mode == "auto" and self.is_testnet and is_plain)

    @property
    def resolved_mode(self) -> str:
        """`live` or `paper`."""
        return "live" if self.is_live else "paper"

    @property
    def clock_factor(self) -> float:
        """Speed of the clock where it is paced."""
        return 1.0 if self.speed == "max" else float(self.speed)


class JournalSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How much disk the record of a run may take."""

    disk_budget_mb: Annotated[
        int,
        Meta(ge=100, le=1_000_000, description="all journal files together; the oldest market data go first"),
    ] = 2_000
    segment_mb: Annotated[
        int, Meta(ge=1, le=256, description="size at which a journal file is sealed and compressed")
    ] = 16


def merged_settings(name: str, *parts: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """One section made of several settings structs (their keys are distinct)."""
    fields = [(field.name, field.type, field.default) for part in parts for field in msgspec.structs.fields(part)]
    return msgspec.defstruct(name, fields, frozen=True, kw_only=True, module=__name__)


RISK_PARTS = (LimitSettings, BreakerSettings, WatchdogSettings, AccountSettings)
RiskSettings = merged_settings("RiskSettings", *RISK_PARTS)

# What a profile changes. `balanced` is the defaults themselves.
PROFILES: dict[str, dict[str, Any]] = {
    "cautious": {
        "sizing.risk_fraction_ppm": 1_000,
        "sizing.leverage": 1,
        "risk.position_notional_max": "10000",
        "risk.order_notional_max": "10000",
        "risk.leverage_max": 1,
        "risk.loss_fraction_max_ppm": 30_000,
        "risk.daily_drawdown_max_ppm": 20_000,
    },
    "balanced": {},
    "aggressive": {
        "sizing.risk_fraction_ppm": 5_000,
        "sizing.leverage": 4,
        "risk.position_notional_max": "50000",
        "risk.order_notional_max": "50000",
        "risk.leverage_max": 5,
        "risk.loss_fraction_max_ppm": 150_000,
        "risk.daily_drawdown_max_ppm": 80_000,
    },
}
DEFAULT_PROFILE = "balanced"


class TraderKind(msgspec.Struct, frozen=True):
    """Where a trader's class is and which sections of the settings it is made from."""

    module: str
    class_name: str
    sections: tuple[str, ...]


# To add a trader: one file in traders/, one line here, one test (and a section, if it has settings of its own).
TRADERS: dict[str, TraderKind] = {
    "trend": TraderKind("agora.traders.trend", "Trend", ("trend", "sizing")),
    "ema_cross": TraderKind("agora.traders.ema_cross", "EmaCross", ("sizing",)),
}

# Settings that may carry a password.
URL_KEYS = frozenset(
    {"market.ledger_url", "llm.base_url", "bitunix.rest_url", "bitunix.public_ws", "bitunix.private_ws"}
)

SECTIONS: dict[str, type[Any]] = {
    "run": RunSettings,
    "risk": RiskSettings,
    "sizing": SizingSettings,
    "trend": TrendSettings,
    "paper": PaperSettings,
    "local": LocalSettings,
    "bitunix": BitunixSettings,
    "provider": ProviderSettings,
    "testnet": BitunixTestnetSettings,
    "market": MarketSettings,
    "llm": LlmSettings,
    "population": PopulationSettings,
    "journal": JournalSettings,
}


class Fault(msgspec.Struct, frozen=True):
    """One thing wrong with the settings."""

    key: str
    value: str
    allowed: str
    source: str

    def text(self) -> str:
        """One line for a person."""
        return f"{self.key} = {self.value} ({self.source}): {self.allowed}"


class ConfigFaults(UsageFault):
    """Every fault of the settings at once; `faults` for scripts, the text for people."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        lines = "\n".join(f"  {fault.text()}" for fault in faults)
        super().__init__(f"{len(faults)} fault(s) in the settings:\n{lines}")


class Config(msgspec.Struct, frozen=True):
    """The effective settings: a struct per section, and where each value came from."""

    profile: str
    sections: dict[str, Any]
    sources: dict[str, str]
    # Full values of settings that the tree holds masked, by `section.key`.
    secrets: dict[str, Secret] = {}

    def __getitem__(self, section: str) -> Any:
        """The settings of a section."""
        return self.sections[section]

    def values(self) -> dict[str, dict[str, Any]]:
        """Plain values by section and key."""
        return {name: msgspec.to_builtins(part) for name, part in self.sections.items()}

    def config_hash(self) -> str:
        """SHA-256 of the effective values."""
        text = msgspec.json.encode(self.values(), order="sorted")
        return hashlib.sha256(text).hexdigest()

    def part(self, section: str, kind: type[Any]) -> Any:
        """The keys of one settings struct out of a merged section."""
        whole = self.sections[section]
        return kind(**{field.name: getattr(whole, field.name) for field in msgspec.structs.fields(kind)})


class Layer(msgspec.Struct, frozen=True):
    """Raw values of one source, by `section.key`."""

    source: str
    values: Mapping[str, Any]


def load(sections: Mapping[str, type[Any]], layers: list[Layer], *, profile: str = DEFAULT_PROFILE) -> Config:
    """Lay the layers over the defaults; raises `ConfigFaults` with every fault."""
    faults: list[Fault] = []
    if profile not in PROFILES:
        faults.append(Fault("profile", repr(profile), f"one of {', '.join(PROFILES)}", "--profile"))
    raw: dict[str, tuple[Any, str]] = {}
    secrets: dict[str, Secret] = {}
    for layer in [Layer(f"profile {profile}", PROFILES.get(profile, {})), *layers]:
        for key, value in layer.values.items():
            raw[key] = (_masked(key, value, secrets), layer.source)
    known = {f"{name}.{field.name}": field for name, kind in sections.items() for field in msgspec.structs.fields(kind)}
    faults += [
        Fault(key, repr(value), _unknown_key(key, known), source)
        for key, (value, source) in raw.items()
        if key not in known
    ]
    built: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name, kind in sections.items():
        built[name] = _build(name, kind, raw=raw, sources=sources, faults=faults)
    if built.get("run") is not None:
        faults += _meaning_faults(built["run"], built.get("provider"), sources)
    faults += _address_faults(built.get("bitunix"), sources)
    if faults:
        raise ConfigFaults(faults)
    return Config(profile, built, sources, secrets)


def _masked(key: str, value: Any, secrets: dict[str, Secret]) -> Any:
    """A URL is kept without its password, which goes to the secrets; other values are kept as they are."""
    if key not in URL_KEYS or not isinstance(value, str):
        return value
    secrets[key] = Secret(value)
    return masked_url(value)


def load_config(
    environment: Mapping[str, str],
    flags: Mapping[str, Any],
    pairs: list[str],
    *,
    file: Path | None = None,
    profile: str | None = None,
) -> Config:
    """The effective settings; raises `ConfigFaults` with every fault. A file may name its profile itself."""
    layers = []
    if file is not None:
        layer = file_layer(file)
        named = layer.values.get("profile")
        values = {key: value for key, value in layer.values.items() if key != "profile"}
        layers.append(Layer(layer.source, values))
        profile = profile or (str(named) if named is not None else None)
    layers += [environment_layer(environment), flag_layer(flags, pairs)]
    return load(SECTIONS, layers, profile=profile or DEFAULT_PROFILE)


def _meaning_faults(run: RunSettings, provider: ProviderSettings | None, sources: Mapping[str, str]) -> Iterator[Fault]:
    """Faults of the run that no single value shows."""

    def fault(key: str, allowed_text: str) -> Fault:
        return Fault(f"run.{key}", repr(getattr(run, key)), allowed_text, sources[f"run.{key}"])

    for entry, allowed_text in roster_faults(run.trader, kinds=TRADERS, intervals=INTERVALS_S):
        yield Fault("run.trader", repr(entry), allowed_text, sources["run.trader"])
    if len(set(run.symbol)) < len(run.symbol):
        yield fault("symbol", "each instrument once")
    what = [f"--{key} recorded" for key in ("venue", "provider", "fallback") if getattr(run, key) == "recorded"]
    if provider is not None and run.is_bitunix and not run.is_live:
        what += [f"provider.{key} recorded" for key in ("fallback", "check") if getattr(provider, key) == "recorded"]
    if what and not run.data:
        yield fault("data", f"{what[0]} needs --data FILE (a recording or an original; see docs/RECORDINGS.md)")
    if run.data and not what and not run.is_testnet:
        yield fault("data", f"belongs to --venue recorded or testnet, not to --venue {run.venue}")
    if run.speed != "max" and float(run.speed) <= 0:
        yield fault("speed", "a factor above 0, or max")
    elif run.venue == "bitunix" and run.clock_factor != 1:
        yield fault("speed", "1 or max: this venue keeps real time")
    if run.mode == "live" and not run.is_bitunix:
        yield fault("mode", f"paper: --venue {run.venue} takes no orders of others")
    for key, nothing in (("provider", ""), ("fallback", "none")):
        if getattr(run, key) == nothing:
            continue
        if not run.is_bitunix:
            yield fault(key, f"belongs to --venue testnet or bitunix, not to --venue {run.venue}")
        elif run.mode == "live" and getattr(run, key) != "bitunix":
            yield fault(key, "belongs to --mode paper: a live run trades on the data of its venue, or not at all")


def _address_faults(bitunix: BitunixSettings | None, sources: Mapping[str, str]) -> Iterator[Fault]:
    """Addresses that would carry a secret; what they are is not repeated."""
    for key in ("rest_url", "public_ws", "private_ws"):
        if bitunix is not None and "@" in getattr(bitunix, key):
            name = f"bitunix.{key}"
            yield Fault(name, MASK, "an address without a name or password in it", sources[name])


def _unknown_key(key: str, known: Mapping[str, Any]) -> str:
    section = key.partition(".")[0]
    near = sorted(name for name in known if name.startswith(f"{section}."))
    hint = f"keys of {section}: {', '.join(name.partition('.')[2] for name in near)}" if near else "no such section"
    return f"unknown key; {hint}"


def _build(
    name: str,
    kind: type[Any],
    *,
    raw: Mapping[str, tuple[Any, str]],
    sources: dict[str, str],
    faults: list[Fault],
) -> Any:
    """One section's struct, or None when something in it is wrong (then the faults say what)."""
    values: dict[str, Any] = {}
    before = len(faults)
    for field in msgspec.structs.fields(kind):
        key = f"{name}.{field.name}"
        value, source = raw.get(key, (field.default, "default"))
        sources[key] = source
        try:
            values[field.name] = msgspec.convert(
                _listed(value, field.type), field.type, strict=not isinstance(value, str)
            )
        except msgspec.ValidationError as fault:
            faults.append(Fault(key, repr(value), f"{allowed(field.type)} ({fault})", source))
    if len(faults) > before:
        return None
    try:
        return kind(**values)
    except ValueError as fault:
        faults.append(Fault(name, "", str(fault), "together"))
        return None


def _listed(value: Any, wanted: Any) -> Any:
    """A text where a list is wanted is a comma-separated list; lists of files are tuples."""
    if "tuple" not in str(wanted):
        return value
    if isinstance(value, str):
        return [item for item in value.split(",") if item]
    return list(value) if isinstance(value, tuple | list) else value


def allowed(wanted: Any) -> str:
    """The allowed range of a setting, for people."""
    base = getattr(wanted, "__origin__", wanted)
    name = {"int": "whole number", "float": "number", "str": "text", "bool": "true or false"}.get(
        getattr(base, "__name__", ""), "list"
    )
    bounds = [
        f"{word} {bound}"
        for meta in _metas(wanted)
        for word, bound in (("≥", meta.ge), (">", meta.gt), ("≤", meta.le), ("<", meta.lt), ("matching", meta.pattern))
        if bound is not None
    ]
    return " ".join([name, *bounds])


def description(wanted: Any) -> str:
    """What a setting means."""
    return next((meta.description for meta in _metas(wanted) if meta.description), "")


def _metas(wanted: Any) -> list[Meta]:
    return [item for item in getattr(wanted, "__metadata__", ()) if isinstance(item, Meta)]


def file_layer(path: Path) -> Layer:
    """The values of a TOML file with one table per section; raises `UsageFault` when it cannot be read."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise UsageFault(f"settings file {path} is larger than {FILE_BYTES_MAX} bytes")
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        raise UsageFault(f"cannot read the settings file {path}: {fault}") from None
    values: dict[str, Any] = {}
    for section, table in tables.items():
        if not isinstance(table, dict):
            values[section] = table
            continue
        values.update({f"{section}.{key}": value for key, value in table.items()})
    return Layer(f"file {path}", values)


def environment_layer(environment: Mapping[str, str]) -> Layer:
    """`AGORA_SECTION__KEY` variables; names without the double underscore are not settings."""
    values = {}
    for name, value in sorted(environment.items()):
        if name.startswith(ENV_PREFIX) and ENV_SEPARATOR in name and not is_secret_variable(name):
            section, _, key = name[len(ENV_PREFIX) :].lower().partition(ENV_SEPARATOR)
            values[f"{section}.{key}"] = value
    return Layer("environment", values)


_SET = re.compile(r"([a-z_]+\.[a-z_0-9]+)=(.*)", re.DOTALL)


def flag_layer(named: Mapping[str, Any], pairs: list[str]) -> Layer:
    """Flags of their own (`None`: not given) and `--set section.key=value` pairs."""
    values = {key: value for key, value in named.items() if value is not None and value not in ([], ())}
    for pair in pairs:
        match = _SET.fullmatch(pair)
        if match is None:
            raise UsageFault(f"--set wants section.key=value, not {pair!r}")
        values[match[1]] = match[2]
    return Layer("flag", values)


def template(sections: Mapping[str, type[Any]], profile: str) -> str:
    """A commented settings file with every key at the profile's value, commented out where it is the default."""
    lines = [
        f"# Settings of Agora, profile {profile}. Unset keys keep their defaults; an unknown key is an error.",
        "",
    ]
    changes = PROFILES[profile]
    for name, kind in sections.items():
        lines += [f"[{name}]"]
        for field in msgspec.structs.fields(kind):
            key = f"{name}.{field.name}"
            value = changes.get(key, field.default)
            mark = "" if key in changes else "# "
            lines.append(f"# {description(field.type)} ({allowed(field.type)})")
            lines.append(f"{mark}{field.name} = {_toml(value)}")
        lines.append("")
    return "\n".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return msgspec.json.encode(value).decode()
