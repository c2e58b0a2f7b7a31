"""How a run gets to its venue: by the settings, by an announce line, or by a testnet that it starts for itself.

Decides which account a run trades on, and refuses real money that nobody has agreed to. Trades nothing.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from agora.config import Config, RunSettings
from agora.domain.errors import StartFault, UsageFault
from agora.session.access import Access, Announcement, account_name, announcement_in, hosts_of, write_testnet
from agora.session.clock import monotonic_ns
from agora.session.credentials import Secret, is_secret_variable
from agora.session.embedded import Embedded, Starting, end_process, starting, still_living
from agora.testnet.bitunix_settings import BitunixTestnetSettings
from agora.venues.bitunix.settings import BitunixSettings

KEY_VARIABLE, SECRET_VARIABLE = "AGORA_BITUNIX__API_KEY", "AGORA_BITUNIX__API_SECRET"
# The account of the testnet that a run starts: a new one each time, but a kill of the last run holds for the next.
OWN_TESTNET = "testnet-bitunix"
# Time to look at what a crash has left and to resume; then nobody comes back.
OWN_IDLE_MINUTES = 10.0
MONEY_FLAG = "--i-accept-real-money"


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of the venue besides the settings. Holds secrets, so it is no part of them."""

    api_key: Secret | None = None
    api_secret: Secret | None = None
    announcement: Announcement | None = None
    content: bytes = b""
    faults: Path | None = None
    accepts_real_money: bool = False
    # That of the process, for a testnet that is started.
    environment: Mapping[str, str] = {}


class Approach(Protocol):
    """The way to a venue that may still be starting."""

    def access(self) -> Access:
        """Where it is and as whom; waits for it, within bounds; raises `StartFault` or `UsageFault`."""
        ...

    def keep(self, folder: Path) -> None:
        """Write into the folder of the run what a resumed run needs to find the venue again."""
        ...


class _Known:
    """A venue that stands somewhere already."""

    def __init__(self, config: Config, terms: Terms) -> None:
        self._terms = terms
        self._access = access_of(config, terms)

    def access(self) -> Access:
        """At once."""
        return self._access

    def keep(self, folder: Path) -> None:
        """The announce line, where there is one; else the settings say it all."""
        if self._terms.announcement is not None:
            write_testnet(folder, self._terms.announcement, self._terms.content)


class _Own:
    """A testnet that was started for this run and is coming up."""

    def __init__(self, config: Config, terms: Terms, child: Starting) -> None:
        self._config = config
        self._terms = terms
        self._child = child
        self._embedded: Embedded | None = None

    def access(self) -> Access:
        """When it has said where it is."""
        if self._embedded is None:
            self._embedded = self._child.announced(monotonic_ns)
        terms = msgspec.structs.replace(self._terms, announcement=self._embedded.announcement)
        return access_of(self._config, terms)

    def keep(self, folder: Path) -> None:
        """Its announce line, and which process it is."""
        assert self._embedded is not None, "nothing is kept of what has not announced itself"
        write_testnet(folder, self._embedded.announcement, self._embedded.content)


@contextlib.contextmanager
def approach(config: Config, terms: Terms) -> Iterator[Approach]:
    """The way to the venue of a new run; a testnet of its own ends with the block. Raises `UsageFault`, `StartFault`.

    Returns at once: what has to come up does so while the run prepares itself.
    """
    check_terms(config, terms)
    if not starts_own(config, terms.announcement):
        yield _Known(config, terms)
        return
    with starting(own_command(config, terms.faults), own_environment(terms.environment)) as child:
        yield _Own(config, terms, child)


@contextlib.contextmanager
def way_back(folder: Path, announcement: Announcement | None) -> Iterator[None]:
    """The testnet of a resumed run must still be there, with what the run left in it; it ends with the block.

    Raises `StartFault`. A venue that the run has not started is met when it is connected to.
    """
    known = None if announcement is None else announcement.process
    if known is None:
        yield
        return
    process = still_living(known)
    if process is None:
        raise StartFault(
            f"the testnet of run {folder.name} (process {known.pid}) has ended, and with it the account that it "
            "traded on: it cannot be continued; `agora report` tells how far it came"
        )
    try:
        yield
    finally:
        end_process(process)


def resumed_terms(folder: Path, terms: Terms) -> Terms:
    """The terms with the announce line that a run was started with, if there was one."""
    return msgspec.structs.replace(terms, announcement=announcement_in(folder))


def fallen_back(config: Config, reason: str) -> Config:
    """The settings of a run on what stands in for its venue; where they came from says why."""
    run = msgspec.structs.replace(
        config["run"], venue=config["run"].fallback, mode="paper", provider="", fallback="none"
    )
    if run.venue != "recorded":
        run = msgspec.structs.replace(run, data=())
    source = f"fallback: {reason}"
    sources = {**config.sources, **dict.fromkeys(("run.venue", "run.mode", "run.provider", "run.fallback"), source)}
    return msgspec.structs.replace(config, sections={**config.sections, "run": run}, sources=sources)


def starts_own(config: Config, announcement: Announcement | None) -> bool:
    """Whether this run has to start its testnet."""
    return config["run"].is_testnet and announcement is None and not _changed_addresses(config)


def _changed_addresses(config: Config) -> list[str]:
    usual = BitunixSettings()
    names = ("rest_url", "public_ws", "private_ws")
    return [name for name in names if getattr(config["bitunix"], name) != getattr(usual, name)]


def check_terms(config: Config, terms: Terms) -> None:
    """Raise `UsageFault` or `StartFault` when settings and terms do not go together. Sends nothing."""
    run: RunSettings = config["run"]
    is_own = starts_own(config, terms.announcement)
    if terms.announcement is not None and not run.is_bitunix:
        raise UsageFault(f"--testnet belongs to --venue testnet or bitunix, not to --venue {run.venue}")
    if terms.announcement is not None and _changed_addresses(config):
        raise UsageFault("--testnet says where the venue is: no other address goes with it")
    if terms.faults is not None and not is_own:
        raise UsageFault("--faults is for a testnet that the run starts itself; another one has a control port")
    if run.is_bitunix and not is_own:
        _check_known(config, terms)


def _check_known(config: Config, terms: Terms) -> None:
    run: RunSettings = config["run"]
    if (terms.api_key is None) != (terms.api_secret is None):
        raise UsageFault(f"{KEY_VARIABLE} and {SECRET_VARIABLE} belong together, and one of them is not set")
    wanted = ("rest_url", "public_ws", "private_ws") if run.is_live else ("rest_url", "public_ws")
    if run.is_testnet and terms.announcement is None and not set(wanted) <= set(_changed_addresses(config)):
        raise UsageFault(f"a testnet elsewhere needs the addresses {', '.join(wanted)}; `--testnet` knows them all")
    if not run.is_live:
        return
    access = access_of(config, terms)
    if not access.is_here and not terms.accepts_real_money:
        hosts = hosts_of((access.rest_url, access.public_ws, access.private_ws))
        raise UsageFault(f"--mode live at {hosts} is real money: it needs {MONEY_FLAG}")
    if access.api_key is None:
        raise StartFault(
            f"no account to trade on: set {KEY_VARIABLE} and {SECRET_VARIABLE} (or the same with _FILE, a file that "
            "only you can read), or use --mode paper"
        )


def access_of(config: Config, terms: Terms) -> Access:
    """Addresses by the announce line or the settings; keys of the environment before announced ones.

    A testnet of our own knows the accounts that it has announced, and is shown no others.
    """
    bitunix: BitunixSettings = config["bitunix"]
    key, secret, said = terms.api_key, terms.api_secret, terms.announcement
    if said is None:
        return Access(
            rest_url=bitunix.rest_url,
            public_ws=bitunix.public_ws,
            private_ws=bitunix.private_ws,
            api_key=key,
            api_secret=secret,
        )
    if (key is None or said.process is not None) and said.accounts:
        key, secret = Secret(said.accounts[0].api_key), Secret(said.accounts[0].api_secret)
    return Access(
        rest_url=said.urls["rest"],
        public_ws=said.urls["public_ws"],
        private_ws=said.urls["private_ws"],
        api_key=key,
        api_secret=secret,
        control=said.control,
    )


def account_of(config: Config, terms: Terms) -> str:
    """The name of the account that a run trades on: one run at a time, closed by a kill until it is reset."""
    run: RunSettings = config["run"]
    if not run.is_bitunix or not run.is_live:
        return f"paper-{run.venue.partition(':')[0]}"
    said = terms.announcement
    access = access_of(config, terms)
    if starts_own(config, said) or (said is not None and said.process is not None) or access.api_key is None:
        return OWN_TESTNET
    return account_name(access.api_key)


def own_settings(config: Config) -> BitunixTestnetSettings:
    """The testnet that a run starts: it lists what the run trades, in the run's time, with the run's money.

    What the settings say of a testnet themselves comes first, but for the pace: one clock for both.
    """
    run: RunSettings = config["run"]
    testnet: BitunixTestnetSettings = config["testnet"]
    of_run = {"seed": run.seed, "deposit": run.equity, "data": run.data, "idle_minutes": OWN_IDLE_MINUTES}
    changes = {name: value for name, value in of_run.items() if config.sources[f"testnet.{name}"] == "default"}
    symbols = tuple(dict.fromkeys([*run.symbol, *testnet.symbols]))
    return msgspec.structs.replace(testnet, **changes, symbols=symbols, speed=run.clock_factor)


def own_command(config: Config, faults: Path | None) -> list[str]:
    """What starts the testnet of a run: nothing in it is secret."""
    usual, wanted = msgspec.structs.asdict(BitunixTestnetSettings()), msgspec.structs.asdict(own_settings(config))
    words = [sys.executable, "-m", "agora", "testnet", "bitunix"]
    for name, value in wanted.items():
        if value != usual[name]:
            text = ",".join(value) if isinstance(value, tuple) else str(value)
            words += ["--set", f"testnet.{name}={text}"]
    return words + (["--faults", str(faults)] if faults is not None else [])


def own_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of that process: it has no business with anybody's keys."""
    return {name: value for name, value in environment.items() if not is_secret_variable(name)}
