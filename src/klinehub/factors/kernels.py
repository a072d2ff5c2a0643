"""Kernels: how the functions of this room are compiled."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])

# Without fastmath, and with + - * / sqrt and comparisons alone: those are rounded the same everywhere, so
# that live and history agree in every bit. A division by zero gives inf or NaN, as in numpy.
kernel = cast("Callable[[F], F]", njit(cache=True, nogil=True, error_model="numpy"))
