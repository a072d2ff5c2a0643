"""Counter-based randomness: a number is a pure function of a key and a counter.

So any minute of a simulated market can be drawn without drawing the minutes before it.
"""

import math
from typing import Final

import numpy as np
from numba import njit

_STEP: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_A: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_B: Final = np.uint64(0x94D049BB133111EB)
_S1, _S11, _S27, _S30, _S31 = np.uint64(1), np.uint64(11), np.uint64(27), np.uint64(30), np.uint64(31)
_LOW16, _S16, _S32, _S48 = np.uint64(0xFFFF), np.uint64(16), np.uint64(32), np.uint64(48)
_QUARTERS: Final = 1.0 / 65536.0
# The standard deviation of a sum of four uniforms.
_SPREAD: Final = math.sqrt(1.0 / 3.0)
_ROOT2: Final = math.sqrt(2.0)


@njit(cache=True, nogil=True)
def _bits(parent: int, child: int) -> np.uint64:
    """Give 64 mixed bits of a key and a counter (uint64)."""
    x = np.uint64(parent) + _STEP * (np.uint64(child) + np.uint64(1))
    x = (x ^ (x >> _S30)) * _MIX_A
    x = (x ^ (x >> _S27)) * _MIX_B
    return x ^ (x >> _S31)


@njit(cache=True, nogil=True)
def key(parent: int, child: int) -> int:
    """Derive the key of *child* (any integer) under the key *parent*; keys are int64, never negative."""
    return int(np.int64(_bits(parent, child) >> _S1))


@njit(cache=True, nogil=True)
def uniform(parent: int, child: int) -> float:
    """Draw from the open interval (0, 1)."""
    return (float(_bits(parent, child) >> _S11) + 0.5) * (1.0 / 9007199254740992.0)


@njit(cache=True, nogil=True)
def bell(parent: int, child: int) -> float:
    """Draw a bell-shaped number of mean 0 and deviation 1 with short tails (a sum of four uniforms)."""
    x = _bits(parent, child)
    total = float(x & _LOW16) + float((x >> _S16) & _LOW16) + float((x >> _S32) & _LOW16) + float(x >> _S48)
    return (total * _QUARTERS + 2.0 * _QUARTERS - 2.0) / _SPREAD


@njit(cache=True, nogil=True)
def waiting(parent: int, child: int) -> float:
    """Draw an exponential number of mean 1."""
    return -math.log(uniform(parent, child))


@njit(cache=True, nogil=True, error_model="numpy")
def fat(parent: int, child: int) -> float:
    """Draw from Student's t with 4 degrees of freedom, scaled to deviation 1 (its quantile is closed)."""
    u = uniform(parent, child)
    root = math.sqrt(4.0 * u * (1.0 - u))
    q = math.cos(math.acos(root) / 3.0) / root
    size = 2.0 * math.sqrt(max(q - 1.0, 0.0)) / _ROOT2
    return size if u > 0.5 else -size
