"""A plain function as somebody has it: what the names of its parameters ask for, and how it is called."""

import inspect
import re
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal, NamedTuple, Protocol

from klinehub.dialect.render import twelve_fields
from klinehub.domain.kline import Exact, Klines
from klinehub.domain.timeframe import TIMEFRAMES, Timeframe
from klinehub.errors import DefinitionError

Function = Callable[..., Any]
# Of what was raised, this many characters are kept.
MOST_TEXT: Final = 300
_OF_ONE: Final = re.compile(r"(?P<form>k|klines|df)_?(?P<timeframe>\d+[mhdwM])")
_OF_ALL: Final = ("klines", "frames", "data")


class Bars(Protocol):
    """Closed bars of one timeframe, symbol by symbol."""

    timeframe: Timeframe

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols held."""

    @property
    def closed_bar(self) -> int:
        """The newest absolute bar index that any symbol has closed, -1 when there is none."""

    def newest_closed(self, symbol: str) -> int:
        """Give the absolute index of a symbol's newest closed bar, -1 when it has none."""

    def klines(self, symbol: str, limit: int) -> Klines:
        """Copy a symbol's last *limit* closed bars, oldest first."""

    def exact(self, symbol: str, *, start: int, end: int) -> Exact:
        """Copy a symbol's closed bars from index *start* to *end* (inclusive) in the exact form."""


class Wanted(NamedTuple):
    """What one parameter is given: the symbol, or rows or DataFrames of these timeframes."""

    parameter: str
    form: Literal["symbol", "rows", "frame", "frames"]
    timeframes: tuple[str, ...] = ()


Copied = Mapping[str, tuple[Exact | None, Klines | None]]


class Plain:
    """A function whose parameters are known; raises DefinitionError for one that can not be called.

    *kept* are the names of the timeframes that there are bars of.
    """

    def __init__(self, function: Function, kept: Collection[str]) -> None:
        self.function = function
        self.name = getattr(function, "__name__", type(function).__name__)
        whole = function.func if isinstance(function, partial) else function
        called = type(whole).__call__
        if any(
            inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one) for one in (whole, called)
        ):
            raise DefinitionError(f"{self.name} yields: give its result with `return` instead.")
        self.awaited = any(inspect.iscoroutinefunction(one) for one in (whole, called))
        self._signature = _signature(function, self.name)
        self._file = getattr(getattr(inspect.unwrap(whole), "__code__", None), "co_filename", None)
        self.wanted = tuple(_all_wanted(self._signature, tuple(kept), self.name))
        if not self.wanted:
            raise DefinitionError(f"{self.name} takes nothing of a symbol. {_possible(kept)}")
        if any(want.form in {"frame", "frames"} for want in self.wanted):
            Klines.empty(0).to_pandas()  # says at once where pandas is not installed

    def copied(self, read: Mapping[str, Bars], symbol: str, limit: int, ends: Mapping[str, int]) -> Copied:
        """Copy the bars that the function wants up to index *ends* by timeframe, at this moment."""
        forms: dict[str, set[str]] = {}
        for want in self.wanted:
            for name in want.timeframes:
                forms.setdefault(name, set()).add("rows" if want.form == "rows" else "frame")
        return {
            name: (
                _exact(read[name], symbol, limit, ends[name]) if "rows" in asked else None,
                _klines(read[name], symbol, limit, ends[name]) if "frame" in asked else None,
            )
            for name, asked in forms.items()
        }

    def lacking(self, copied: Copied) -> str:
        """Say which bars the function can not do without are not there, nothing when all are."""
        held = {
            name: bool(len(exact.rows) if exact else 0) or bool(klines is not None and klines.size)
            for name, (exact, klines) in copied.items()
        }
        for want in self.wanted:
            some = [held[name] for name in want.timeframes]
            if some and not any(some):
                return f"no closed {' or '.join(want.timeframes)} bar yet"
        return ""

    def bound(self, symbol: str, copied: Copied) -> inspect.BoundArguments:
        """Make the arguments of one call."""
        values = {want.parameter: _value(want, symbol, copied) for want in self.wanted}
        bound = inspect.BoundArguments(self._signature, values)
        bound.apply_defaults()
        return bound

    def run(self, symbol: str, copied: Copied) -> tuple[str, Any]:
        """Call the function; gives what went wrong, if anything, and the result."""
        try:
            bound = self.bound(symbol, copied)
            result = self.function(*bound.args, **bound.kwargs)
        except BaseException as exc:  # noqa: BLE001 - it is in a thread of its own, even SystemExit is the symbol's
            return self.said(exc), None
        if inspect.iscoroutine(result):
            result.close()
            return "it gave a coroutine: make it `async def`, so that it is awaited", None
        return "", result

    def said(self, exc: BaseException) -> str:
        """Put what was raised into a short text, with the line of the function's file."""
        try:
            text = f"{type(exc).__name__}: {exc}"
        except Exception:  # noqa: BLE001 - a message may fail to be made, which is no news
            text = type(exc).__name__
        frames = traceback.walk_tb(exc.__traceback__)
        lines = [line for frame, line in frames if frame.f_code.co_filename == self._file]
        short = text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}…"
        return f"{short} (line {lines[-1]})" if lines else short


def _signature(function: Function, name: str) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError) as exc:
        raise DefinitionError(f"The parameters of {name} can not be read: put it into a `def`.") from exc


def _all_wanted(signature: inspect.Signature, kept: Sequence[str], name: str) -> Iterator[Wanted]:
    """Give what each parameter wants; those that want nothing known keep their defaults."""
    for one in signature.parameters.values():
        if one.kind in {one.VAR_POSITIONAL, one.VAR_KEYWORD}:
            continue
        want = _wanted(one.name, kept)
        if want is not None and set(want.timeframes) <= set(kept):
            yield want
        elif one.default is not one.empty:
            continue
        elif want is None:
            raise DefinitionError(f"Nothing is known to give to {one.name!r} of {name}. {_possible(kept)}")
        else:
            raise DefinitionError(
                f"{name} asks for {one.name}, and the bars kept are {' '.join(kept)}: "
                f"add {want.timeframes[0]} to `timeframes`, or give {one.name} a default."
            )


def _wanted(parameter: str, kept: Sequence[str]) -> Wanted | None:
    """Read one parameter's name."""
    if parameter == "symbol":
        return Wanted(parameter, "symbol")
    if parameter in _OF_ALL:
        return Wanted(parameter, "frames", tuple(kept))
    found = _OF_ONE.fullmatch(parameter)
    if found is None or found["timeframe"] not in TIMEFRAMES:
        return None
    return Wanted(parameter, "frame" if found["form"] == "df" else "rows", (found["timeframe"],))


def _possible(kept: Collection[str]) -> str:
    """List what a function can be given."""
    rows, frames = (", ".join(f"{form}{name}" for name in kept) for form in ("k", "df_"))
    return (
        f"Possible are `symbol`, rows as REST gives them ({rows}), DataFrames ({frames}), all DataFrames by "
        f"timeframe (one of {', '.join(_OF_ALL)}), and whatever has a default."
    )


def _exact(bars: Bars, symbol: str, limit: int, end: int) -> Exact:
    last = min(bars.newest_closed(symbol), end)
    return bars.exact(symbol, start=last - limit + 1, end=last)


def _klines(bars: Bars, symbol: str, limit: int, end: int) -> Klines:
    # A bar may have closed since the scan began, of which the symbols before this one knew nothing.
    newer = max(0, bars.newest_closed(symbol) - end)
    klines = bars.klines(symbol, limit + newer)
    if not newer:
        return klines
    kept: Klines = klines[klines["open_time"] <= bars.timeframe.open_time(end)]  # type: ignore[assignment]
    return kept


def _value(want: Wanted, symbol: str, copied: Copied) -> Any:  # noqa: ANN401 - a text, rows or DataFrames
    """Give one parameter its value."""
    if want.form == "symbol":
        return symbol
    values: dict[str, Any] = {}
    for name in want.timeframes:
        exact, klines = copied[name]
        if want.form == "rows":
            values[name] = twelve_fields(exact, TIMEFRAMES[name]) if exact else []
        elif klines is not None:
            values[name] = klines.to_pandas()
    return values if want.form == "frames" else values[want.timeframes[0]]
