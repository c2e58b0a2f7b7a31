"""How a run reaches its venue: addresses, the keys of an account, and the announce line of a testnet.

Knows no protocol. Secrets are shown to the wire only; of a testnet they also stand in its private file.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from agora.domain.errors import UsageFault
from agora.domain.instruments import Instrument
from agora.engine.ports import Clock
from agora.session.credentials import MASK, Secret
from agora.session.folder import write_private

TESTNET_FILE = "testnet.json"
# Three addresses and the keys of a hundred accounts are a tenth of this.
ANNOUNCEMENT_BYTES_MAX = 262_144
SCHEMES = {"rest": ("http", "https"), "public_ws": ("ws", "wss"), "private_ws": ("ws", "wss")}
# What tells accounts apart in the names of locks: eight hexadecimal digits of a hash give nothing away.
ACCOUNT_DIGITS = 8


class AnnouncedAccount(msgspec.Struct, frozen=True):
    """An account that a testnet has announced."""

    api_key: str
    api_secret: str

    def __repr__(self) -> str:
        return MASK


class OwnProcess(msgspec.Struct, frozen=True):
    """The process of a testnet that a run has started; the time tells it from a later one of the same number."""

    pid: int
    created_s: float


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """The first line that a testnet says. `process`: only in the file of the run that has started it."""

    venue: str
    urls: dict[str, str]
    control: str = ""
    accounts: tuple[AnnouncedAccount, ...] = ()
    process: OwnProcess | None = None


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """Where a venue is, and as whom."""

    rest_url: str
    public_ws: str
    private_ws: str
    api_key: Secret | None = None
    api_secret: Secret | None = None
    control: str = ""

    @property
    def is_here(self) -> bool:
        """Whether everything that is called is on this machine."""
        return all(is_loopback(url) for url in (self.rest_url, self.public_ws, self.private_ws))


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a venue has told of itself before a run.

    `equity_units`: the wallet of the account, where it is traded on; `clock`: its time, where no wall shows it.
    """

    access: Access
    instruments: dict[str, Instrument]
    equity_units: int | None = None
    clock: Clock | None = None


def read_announcement(content: bytes, *, origin: str) -> Announcement:
    """The announce line of a Bitunix testnet; raises `UsageFault` naming what is wrong, without repeating it."""
    try:
        found = msgspec.json.decode(content, type=Announcement)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise UsageFault(f"{origin}: not the announce line of a testnet (one JSON object)") from None
    if found.venue != "bitunix":
        raise UsageFault(f"{origin}: a testnet of {found.venue[:40]!r}, not of 'bitunix'")
    missing = sorted(SCHEMES.keys() - found.urls.keys())
    if missing:
        raise UsageFault(f"{origin}: has no address {', '.join(missing)}")
    for name in SCHEMES:
        check_url(name, found.urls[name])
    return found


def check_url(name: str, url: str) -> None:
    """Raise `UsageFault` unless this can be the address of that name."""
    schemes = SCHEMES[name]
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_good = False
    if not is_good or "@" in url:
        raise UsageFault(f"address {name}: {schemes[0]}:// or {schemes[1]}://, a host, and no name or password in it")


def is_loopback(url: str) -> bool:
    """Whether an address can only lead to this machine. Names are not looked up: only `localhost` is known."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def account_name(api_key: Secret) -> str:
    """The name of an account in locks and latches."""
    return "bitunix-" + hashlib.sha256(api_key.reveal().encode()).hexdigest()[:ACCOUNT_DIGITS]


def write_testnet(folder: Path, announcement: Announcement, content: bytes) -> None:
    """Keep what a testnet has announced in the folder of its run, for the owner only."""
    facts: dict[str, Any] = msgspec.json.decode(content)
    if announcement.process is not None:
        facts["process"] = msgspec.to_builtins(announcement.process)
    write_private(folder / TESTNET_FILE, msgspec.json.encode(facts) + b"\n")


def announcement_in(folder: Path) -> Announcement | None:
    """The testnet that a run trades on, if it is one that was announced; raises `UsageFault`."""
    path = folder / TESTNET_FILE
    if not path.exists():
        return None
    return read_announcement(head_of(path), origin=str(path))


def head_of(path: Path) -> bytes:
    """The first line of a file, or all of it where that is no whole object; raises `UsageFault`.

    Where the testnet itself writes into the file, or into a pipe of that name, nothing comes after the line.
    """
    try:
        with path.open("rb") as file:
            line = file.readline(ANNOUNCEMENT_BYTES_MAX)
            return line if line.rstrip().endswith(b"}") else line + file.read(ANNOUNCEMENT_BYTES_MAX)
    except OSError as fault:
        raise UsageFault(f"cannot read {path}: {fault.strerror}") from None


def hosts_of(urls: Iterable[str]) -> str:
    """The hosts of addresses, for a message."""
    return ", ".join(dict.fromkeys(urlsplit(url).netloc for url in urls))
