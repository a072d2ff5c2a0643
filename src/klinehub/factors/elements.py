"""Elements: what is computed symbol by symbol and bar by bar, with numpy.

Only operations that are rounded the same everywhere; conditions are 1, 0 or unknown (NaN).
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from klinehub.panel.memory import F64


def _compared(compare: Callable[[F64, F64], Any]) -> Callable[[F64, F64], F64]:
    """Make a comparison that is unknown where a side is."""

    def comparison(a: F64, b: F64) -> F64:
        return np.where(np.isnan(a) | np.isnan(b), np.nan, compare(a, b))

    return comparison


def _both(a: F64, b: F64) -> F64:
    """Say where both hold: a false side decides, whatever the other is."""
    is_false = (a == 0.0) | (b == 0.0)
    return np.where(is_false, 0.0, np.where(np.isnan(a) | np.isnan(b), np.nan, 1.0))


def _either(a: F64, b: F64) -> F64:
    """Say where one of both holds: a true side decides, whatever the other is."""
    is_true = (np.nan_to_num(a) != 0.0) | (np.nan_to_num(b) != 0.0)
    return np.where(is_true, 1.0, np.where(np.isnan(a) | np.isnan(b), np.nan, 0.0))


def _finite(values: F64) -> F64:
    """Make infinities unknown: a quotient with no divisor says nothing."""
    return np.where(np.isfinite(values), values, np.nan)


def _where(condition: F64, a: F64, b: F64) -> F64:
    """Choose by a condition; unknown where the condition is."""
    return np.where(np.isnan(condition), np.nan, np.where(condition != 0.0, a, b))


ELEMENTS: Final[dict[str, Callable[..., F64]]] = {
    "+": lambda a, b: _finite(a + b),
    "-": lambda a, b: _finite(a - b),
    "*": lambda a, b: _finite(a * b),
    "/": lambda a, b: _finite(a / b),
    "<": _compared(np.less),
    "<=": _compared(np.less_equal),
    ">": _compared(np.greater),
    ">=": _compared(np.greater_equal),
    "eq": _compared(np.equal),
    "ne": _compared(np.not_equal),
    "&": _both,
    "|": _either,
    "not": lambda a: np.where(np.isnan(a), np.nan, a == 0.0),
    "neg": np.negative,
    "abs": np.abs,
    "sqrt": np.sqrt,
    "min": np.minimum,
    "max": np.maximum,
    "known": lambda a: np.where(np.isnan(a), 0.0, 1.0),
    "where": _where,
}


def element(op: str, args: list[F64]) -> F64:
    """Compute one operation on arrays of one shape."""
    with np.errstate(all="ignore"):
        return ELEMENTS[op](*args)
