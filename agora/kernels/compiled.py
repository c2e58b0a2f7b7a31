"""The one decorator under which every kernel is compiled, typed so that the checker sees plain functions."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np
from numba import config, njit
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable

Words = NDArray[np.int64]  # one dimension
Rows = NDArray[np.int64]  # two dimensions

_Kernel = TypeVar("_Kernel", bound="Callable[..., object]")


def _sources_digest() -> str:
    """Return a short digest of all kernel sources."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


# Numba compares only the file in which a cached function stands, not the files of the functions it calls. A
# kernel that spans files would keep running old machine code of a changed callee, so the folder carries the
# sources' digest, also where none is set and numba would keep it beside the sources.
_own_folder = Path(__file__).parent / "__pycache__"
if config.CACHE_DIR or os.access(_own_folder, os.W_OK):
    config.CACHE_DIR = str(Path(config.CACHE_DIR or _own_folder) / f"kernels-{_sources_digest()}")


def is_cached(module: str) -> bool:
    """Whether machine code of that kernel module lies in the cache folder, so that starting takes no compiling."""
    return bool(config.CACHE_DIR) and any(Path(config.CACHE_DIR).rglob(f"{module}.*.nbi"))


def compiled(function: _Kernel) -> _Kernel:
    """Compile `function` on its first call and keep the machine code in the cache folder."""
    return cast("_Kernel", njit(cache=True)(function))


def compiled_inside(function: _Kernel) -> _Kernel:
    """Compile a function that only compiled functions call.

    It has no entry points for Python and C, and is kept only within its callers' machine code.
    """
    return cast("_Kernel", njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)(function))
