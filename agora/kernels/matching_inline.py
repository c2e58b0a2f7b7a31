"""How the short pieces of the book are compiled: into the code of their callers, never as calls.

A call between compiled functions hands over each buffer as seven words. The book's pieces are so short that this
took half of its time: 9 million operations a second with calls, 17 million without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable

_Kernel = TypeVar("_Kernel", bound="Callable[..., object]")


def compiled_inside(function: _Kernel) -> _Kernel:
    """Compile a function that only compiled functions call, anew within each of them."""
    return cast("_Kernel", njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True)(function))
