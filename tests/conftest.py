"""What every test stands on: recordings, reproducible examples, a cache for kernels, and no network."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

# Set before anything imports numba, which reads it once. A second run of the tests then compiles nothing.
os.environ.setdefault("NUMBA_CACHE_DIR", str(ROOT / "var" / "cache" / "numba"))

# The same examples on every machine: a failure in the pipeline is a failure here. No deadline, because the
# first example may compile a kernel; no database, because a derandomised run would not read it.
settings.register_profile("repository", deadline=None, derandomize=True, print_blob=True, database=None)
settings.load_profile("repository")

LOOPBACK_HOSTS = {"localhost", "127.0.0.1", "::1", "0.0.0.0", "::", "", None}  # noqa: S104 - compared, not bound


class NetworkRefusedError(RuntimeError):
    """A test reached for a machine other than this one. Not an OSError, so no retry swallows it."""


def _refuse_network(event: str, arguments: tuple[object, ...]) -> None:
    if event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None  # a text is the path of a local socket
    elif event in {"socket.getaddrinfo", "socket.gethostbyname"}:
        host = arguments[0]
    else:
        return
    name = host.decode() if isinstance(host, bytes) else host
    if name not in LOOPBACK_HOSTS and not str(name).startswith("127."):
        raise NetworkRefusedError(f"a test may talk to this machine only, it tried {event} to {name!r}")


@pytest.fixture(scope="session", autouse=True)
def loopback_only() -> None:
    """Any connection or look-up of a name outside this machine fails, at the interpreter's own hook."""
    sys.addaudithook(_refuse_network)


@pytest.fixture(scope="session")
def recorded_data() -> Path:
    """The folder of recordings: AGORA_TEST_DATA, or `shared/data` beside the checkout."""
    folder = Path(os.environ.get("AGORA_TEST_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("set AGORA_TEST_DATA to the folder of recordings")
    return folder


@pytest.fixture(scope="session")
def venue_samples() -> Path:
    """The folder of venues' sample messages, beside the recordings."""
    folder = Path(os.environ.get("AGORA_TEST_DATA") or ROOT.parent / "shared" / "data").parent / "fixtures"
    if not folder.is_dir():
        pytest.skip("set AGORA_TEST_DATA to the folder of recordings; the samples of venues lie beside it")
    return folder
