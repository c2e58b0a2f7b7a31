"""Tables for the manual: commands, settings, events, exit codes. `tools/docs.py` prints them; tests compare."""

from __future__ import annotations

from typing import Any

import msgspec

from agora.config import ENV_PREFIX, ENV_SEPARATOR, PROFILES, SECTIONS, allowed, description


def settings_table() -> list[dict[str, Any]]:
    """Every setting with its type, range, default, meaning, environment variable and the profiles' values."""
    rows = []
    for section, kind in SECTIONS.items():
        for field in msgspec.structs.fields(kind):
            key = f"{section}.{field.name}"
            rows.append(
                {
                    "key": key,
                    "environment": f"{ENV_PREFIX}{section.upper()}{ENV_SEPARATOR}{field.name.upper()}",
                    "default": field.default,
                    "allowed": allowed(field.type),
                    "meaning": description(field.type),
                    "profiles": {name: changes[key] for name, changes in PROFILES.items() if key in changes},
                }
            )
    return rows
