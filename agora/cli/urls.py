"""`--url`, `--rest-url`, `--ws-url`, `--testnet`: where a venue is, as the settings and the announce line say it."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urlsplit

from agora.domain.errors import UsageFault
from agora.session.access import ANNOUNCEMENT_BYTES_MAX, SCHEMES, Announcement, check_url, head_of, read_announcement

# The setting behind each name of an address.
SETTINGS = {"rest": "bitunix.rest_url", "public_ws": "bitunix.public_ws", "private_ws": "bitunix.private_ws"}
STANDARD_INPUT = "-"


def address_settings(urls: list[str], rest_url: str | None, ws_url: str | None) -> dict[str, str]:
    """The settings that these flags are short for; raises `UsageFault`."""
    found: dict[str, str] = {}
    pairs = [_pair(text) for text in urls]
    pairs += [("rest", rest_url)] if rest_url else []
    pairs += [(name, _socket(ws_url, name)) for name in ("public_ws", "private_ws")] if ws_url else []
    for name, url in pairs:
        if SETTINGS[name] in found:
            raise UsageFault(f"the address {name} is given twice")
        check_url(name, url)
        found[SETTINGS[name]] = url
    return found


def _pair(text: str) -> tuple[str, str]:
    name, equals, url = text.partition("=")
    if not equals or name not in SCHEMES:
        raise UsageFault(f"--url wants NAME=URL with one of the names {', '.join(SCHEMES)}")
    return name, url


def _socket(url: str, name: str) -> str:
    """One address is short for both sockets; where it is only a host, they stand there as at the venue itself."""
    if urlsplit(url).path not in ("", "/"):
        return url
    return f"{url.rstrip('/')}/{name.removesuffix('_ws')}/"


def announced(source: str) -> tuple[Announcement, bytes]:
    """The announce line in a file or, for `-`, the first line of standard input; raises `UsageFault`."""
    if source == STANDARD_INPUT:
        content = sys.stdin.buffer.readline(ANNOUNCEMENT_BYTES_MAX)
        return read_announcement(content, origin="--testnet -"), content
    path = Path(source).expanduser()
    content = head_of(path)
    return read_announcement(content, origin=f"--testnet {path}"), content
