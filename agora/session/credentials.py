"""Secrets: taken from the environment or from a file that only its owner can read, printed as `***`.

They are no settings: nothing of them reaches the settings tree, a file of a run, a log or an answer.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from agora.domain.errors import UsageFault

MASK = "***"
SECRET_BYTES_MAX = 16_384  # the longest keys in use are PEM blocks of some 4 kB
# What may stand in the environment beside the settings; each also as NAME_FILE.
SECRET_VARIABLES: Mapping[str, str] = {
    "AGORA_LLM__API_KEY": "key of the model's provider",
    "AGORA_BITUNIX__API_KEY": "key of an account at Bitunix or at a testnet",
    "AGORA_BITUNIX__API_SECRET": "the secret of that key, which signs",
}


class Secret:
    """A text that shows itself only to who asks for it by `reveal`."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return MASK

    def reveal(self) -> str:
        """The text itself, for the wire."""
        return self._text


def is_secret_variable(name: str) -> bool:
    """Whether an environment variable holds a secret or names the file that does."""
    return name.removesuffix("_FILE") in SECRET_VARIABLES


def read_secret(environment: Mapping[str, str], name: str) -> Secret | None:
    """The secret of that variable, or of the file that NAME_FILE names; raises `UsageFault` when it lies open."""
    assert name in SECRET_VARIABLES, f"{name} is not declared"
    value = environment.get(name)
    if value:
        return Secret(value.strip())
    path = environment.get(f"{name}_FILE")
    if not path:
        return None
    return Secret(_private_text(Path(path).expanduser(), name))


def _private_text(path: Path, name: str) -> str:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as fault:
        raise UsageFault(f"{name}_FILE: cannot read {path}: {fault.strerror}") from None
    try:
        facts = os.fstat(file)
        if not stat.S_ISREG(facts.st_mode) or facts.st_mode & 0o077:
            raise UsageFault(f"{name}_FILE: {path} can be read by others; `chmod 600` it")
        content = os.read(file, SECRET_BYTES_MAX)
    finally:
        os.close(file)
    try:
        return content.decode().strip()
    except UnicodeDecodeError:
        raise UsageFault(f"{name}_FILE: {path} is not text") from None


def masked_url(url: str) -> str:
    """A URL without its password."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:{MASK}@{place}"))
