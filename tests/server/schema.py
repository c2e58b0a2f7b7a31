"""A context without folders or clocks, for tests of the OpenAPI document."""

from __future__ import annotations

import tempfile
from pathlib import Path

from agora.cli.glance import glance
from agora.server.app import ServerContext
from agora.server.auth import AccessRules
from agora.server.runs import RunPort
from agora.session.clock import monotonic_ns
from agora.session.folder import Home
from tests.server.markets import TOKEN, HandMarket


def context_for_schema(folder: Path | None = None) -> ServerContext:
    """A market by hand and the runs of a folder, by default one that is not there."""
    home = Home(folder or Path(tempfile.gettempdir()) / "agora-no-such-home")
    runs = RunPort(home=home, glance=glance, re_arm=lambda _run, _reason: [], monotonic_ns=monotonic_ns)
    return ServerContext(access=AccessRules(token=TOKEN), market=HandMarket(), runs=runs, monotonic_ns=monotonic_ns)
