"""Grams: how the ranks of several factors and of the returns after them go together, bar by bar.

At each bar the values of each factor become ranks from -0.5 to 0.5 over the members (0 where not known), the
returns likewise. Products summed over symbols are all that a ridge regression on any bars, and the rank IC of
any weights at any bar, are made of: a year is read once.
"""

from typing import NamedTuple

import numpy as np

from klinehub.evidence.cross import LEAST, U64, rank, room
from klinehub.factors.kernels import kernel
from klinehub.factors.section import Flags
from klinehub.panel.memory import F64, I64


class Gram(NamedTuple):
    """Products by bar: of factors with each other [bars, factors, factors], with the returns, of those."""

    factors: F64
    returns: F64
    own: F64

    def ic(self, weights: F64) -> F64:
        """Give the rank correlation of weighed factors and returns at each bar, NaN where there is none."""
        with np.errstate(all="ignore"):
            size = np.einsum("tij,i,j->t", self.factors, weights, weights)
            found: F64 = (self.returns @ weights) / np.sqrt(size * self.own)
        found[~np.isfinite(found)] = np.nan
        return found

    def part(self, bars: Flags) -> tuple[F64, F64]:
        """Sum the products of some bars: [factors, factors] and [factors]."""
        return self.factors[bars].sum(axis=0), self.returns[bars].sum(axis=0)


@kernel
def _centred(
    values: F64, rows: I64, count: int, known: I64, work: tuple[U64, I64, U64, I64], out: F64
) -> None:
    """Put the ranks of values[rows[:count]], from -0.5 to 0.5, into out[rows]; 0 where not known."""
    n = 0
    for i in range(count):
        out[rows[i]] = 0.0
        if np.isfinite(values[rows[i]]):
            known[n] = rows[i]
            n += 1
    if n < LEAST:
        return
    rank(values, known, n, work, out)
    for i in range(n):
        out[known[i]] = (out[known[i]] - 1.0) / (n - 1.0) - 0.5


@kernel
def _product(a: F64, b: F64, rows: I64, count: int) -> float:
    total = 0.0
    for i in range(count):
        total += a[rows[i]] * b[rows[i]]
    return total


@kernel
def _sum(values: F64, returns: F64, members: Flags, factors: F64, crossed: F64, own: F64) -> None:
    """Sum the products of each bar: *values* are [factors, bars, symbols]."""
    count, bars, symbols = values.shape
    rows, known, work = np.empty(symbols, np.int64), np.empty(symbols, np.int64), room(symbols)
    ranks = np.empty((count + 1, symbols))
    for t in range(bars):
        n = 0
        for s in range(symbols):
            if members[t, s] and np.isfinite(returns[t, s]):
                rows[n] = s
                n += 1
        if n < LEAST:
            continue
        _centred(returns[t], rows, n, known, work, ranks[count])
        own[t] = _product(ranks[count], ranks[count], rows, n)
        for i in range(count):
            _centred(values[i, t], rows, n, known, work, ranks[i])
            crossed[t, i] = _product(ranks[i], ranks[count], rows, n)
            for j in range(i + 1):
                factors[t, i, j] = factors[t, j, i] = _product(ranks[i], ranks[j], rows, n)


def gram_of(values: F64, returns: F64, members: Flags) -> Gram:
    """Give the products of factors' *values* [factors, bars, symbols] and *returns* [bars, symbols]."""
    count, bars = values.shape[:2]
    found = Gram(np.zeros((bars, count, count)), np.zeros((bars, count)), np.zeros(bars))
    _sum(np.ascontiguousarray(values), np.ascontiguousarray(returns), np.ascontiguousarray(members), *found)
    return found
