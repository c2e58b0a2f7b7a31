"""What `agora doctor --venue` looks at: the venue as a run would find it, and the account that it would trade on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from agora import assembly, venue_access
from agora.cli.running import load_settings, terms_of
from agora.domain.errors import StartFault, UsageFault


def venue_checkup(
    flags: dict[str, Any], pairs: list[str], *, file: Path | None, testnet: str | None
) -> list[dict[str, Any]]:
    """Findings as {what, ok, found}; reads only, so that real money is in no danger. Raises `UsageFault`."""
    settings = load_settings(flags, pairs, file=file, profile=None)
    if not settings["run"].is_bitunix:
        raise UsageFault(f"--venue {settings['run'].venue} is in this program: there is nothing to look at")
    terms = msgspec.structs.replace(terms_of(testnet=testnet), accepts_real_money=True)
    try:
        with venue_access.approach(settings, terms) as approach:
            found = asyncio.run(assembly.check_venue(settings, approach.access()))
    except StartFault as fault:
        found = [("venue", False, str(fault))]
    return [{"what": what, "ok": ok, "found": text} for what, ok, text in found]
