"""The catalogue: docs/factors.md, written from the stock factors themselves.

`python -m klinehub.factors.catalogue > docs/factors.md` makes it anew.
"""

import inspect
import sys
from collections.abc import Iterable
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from klinehub.domain.timeframe import TIMEFRAMES
from klinehub.factors.define import Factor
from klinehub.factors.expr import Expr
from klinehub.factors.loops import BLOCK
from klinehub.factors.plan import planned
from klinehub.factors.stock import STOCK

_HEADS: Final = (
    "factor",
    "formula",
    "unit",
    "range",
    "warm-up",
    "cold start",
    "source",
)
_ANY: Final = "15m"
_INTRO: Final = f"""\
# Factors

<!-- made by `python -m klinehub.factors.catalogue > docs/factors.md` -->

A factor gives one number for each symbol at each closed bar.
{{count}} come with klinehub; each is written as you would write your own.

## Your own in five lines

```python
from klinehub.factors.define import Window, factor


@factor(window=lambda n: n + 1)
def efficiency(close: Window, n: int = 20) -> float:
    \"\"\"Net move over path length.\"\"\"
    path = 0.0
    for i in range(1, close.size):
        path += abs(close[i] - close[i - 1])
    return (close[-1] - close[0]) / path if path > 0.0 else 0.0


print(efficiency(n=50).on("4h").rank() > 0.9)
```

1. A parameter that is a `Window` is a field of the bars, by its name: `open_` (the name `open` is Python's),
   `high`, `low`, `close`, `volume`, `quote_volume`, `trades`, `taker_base`, `taker_quote`, `open_time`, and
   `benchmark`, the close of the BTC perpetual. It holds exactly the last `window` closed bars, oldest first.
   A hub can keep [more beside them](market-data.md): `mark_price`, `index_price`, `funding_rate`,
   `open_interest`, and [of spot](spot.md) `spot_close` and `spot_quote_volume`.
2. Every other parameter is an option: a number with a default. `window` may be worked out from the options.
3. The function is compiled with numba, as it is: loops are fast, and lists, strings and files are not for it.
   To agree with the replay in every bit on every machine, keep to `+ - * /`, `sqrt`, `abs`, `min`, `max` and
   comparisons.
4. A window with a hole gives no value (NaN), and so does infinity, such as a division by zero.

An average that goes on from bar to bar keeps what it needs in a `State` instead of looking at a window:

```python
from klinehub.factors.define import Bar, State, factor


@factor(state=1, warmup=lambda n: 4 * n)
def average(state: State, close: Bar, n: int = 20) -> float:
    \"\"\"An exponential average.\"\"\"
    state[0] = close if state[0] == 0.0 else state[0] + (close - state[0]) * 2.0 / (n + 1.0)
    return state[0]


print((average(12) - average(26)) / average(26))
```

`state` numbers are 0 at first. A value counts after `warmup` bars, and is started anew every {BLOCK} bars, so
that it never depends on when the program was started: [Live and history](live-and-history.md) says how.
A function of options alone returns an expression of other factors.

Factors, fields and numbers are combined with `+ - * /`, comparisons, `&` `|` `~` and the methods `.on("4h")`,
`.lag(n)`, `.rank()`, `.zscore()`, `.mean()`, `.winsorize()`, `.where()`, `.clip()`, `.abs()`, `.sqrt()` and
`.known()`; [as text](language.md) the same is written `rank(efficiency_4h(50)) > 0.9`.

## Reading the tables

A factor is shown with the options that it has unless you say otherwise; its neutral value, or when it is
unknown, stands below its title.
*Warm-up* is how many bars without a hole have to lie before the first bar that has a value.
*Cold start* is how many bars have to be loaded so that no value waits for more: those of the warm-up, the bar
itself, and for a stepped factor up to {BLOCK - 1} more to the start of its block.
"""


def catalogue() -> str:
    """Write the page of all stock factors, family by family."""
    pages = [_INTRO.format(count=len(STOCK))]
    for family, members in groupby(STOCK, key=attrgetter("family")):
        pages.append(f"\n## {family.capitalize()}\n\n{_family(list(members))}")
    return "".join(pages)


def _family(members: list[Factor]) -> str:
    """Write what a family is about, and its table."""
    about = (inspect.getdoc(sys.modules[members[0].function.__module__]) or "").split("\n")[0]
    sentence = about.partition(": ")[2]
    lines = [sentence[:1].upper() + sentence[1:], "", _line(_HEADS), _line(("---",) * len(_HEADS))]
    return "\n".join([*lines, *(_row(member) for member in members), ""])


def _row(one: Factor) -> str:
    """Write one factor's line."""
    options = ", ".join(f"{name}={value}" for name, value in one.options.items())
    note = " ".join((inspect.getdoc(one.function) or "").split("\n")[1:]).strip()
    shown = f"`{one.name}({options})`<br>{one.title}" + (f"<br>{note}" if note else "")
    expr = one()
    rows = planned([expr], _ANY, TIMEFRAMES).rows
    cold = ", ".join(str(bars) if name == _ANY else f"{bars} of {name}" for name, bars in rows.items())
    return _line((shown, f"`{one.formula}`", one.unit, one.span, str(warm_up(expr)), cold, one.source))


def warm_up(expr: Expr) -> int:
    """Give how many bars before a bar an expression needs, of the bar's own timeframe."""
    if expr.op == "factor":
        factor: Factor = expr.params[0]
        return factor.lookback(expr.params[1:])
    if expr.op == "on":
        return 0
    own: int = expr.params[0] if expr.op == "lag" else 0
    return own + max((warm_up(arg) for arg in expr.args), default=0)


def described(one: Factor) -> dict[str, Any]:
    """Give everything that is known of a factor; `bars` are those before the first value that counts."""
    options = tuple(one.options.values())
    return {
        "name": one.name,
        "family": one.family,
        "title": one.title,
        "options": dict(one.options),
        "formula": one.formula,
        "unit": one.unit,
        "range": one.span,
        "bars": None if one.kind == "expression" else one.lookback(options),
        "source": one.source,
        "text": inspect.getdoc(one.function) or "",
    }


def _line(cells: Iterable[str]) -> str:
    """Write one line of a table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    sys.stdout.write(catalogue())
