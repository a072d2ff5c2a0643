"""Definitions: a factor is a Python function with typed parameters, compiled as it is.

1. A parameter annotated `Window` or `Bar` is a field of the panel, by its name; every other one is an option
   with a default. `open_` is the field `open`.
2. A function of `Window`s sees exactly its last `window` closed bars, oldest first, and gives one number.
3. A function of `State` and `Bar`s is stepped over the bars one by one and keeps what it needs in the state,
   zeros at first. It is started anew every 128 bars, `warmup` bars ahead, so that its value never depends on
   when a program was started: see docs/live-and-history.md.
4. A function of options alone gives an expression of other factors.

All three are the same function live and on history.
"""

import inspect
import sys
from collections.abc import Callable, Mapping
from pkgutil import resolve_name
from typing import Annotated, Any, Final, Literal, get_args, get_type_hints, overload

import msgspec
import numpy as np
import numpy.typing as npt

from klinehub.errors import DefinitionError, KlinehubError, UnknownName
from klinehub.factors.expr import READABLE, Expr
from klinehub.factors.functions import RESERVED

# The last closed bars of a field, oldest first; what a factor keeps from bar to bar; one bar of a field.
Window = Annotated[npt.NDArray[np.float64], "window"]
State = Annotated[npt.NDArray[np.float64], "state"]
Bar = Annotated[float, "bar"]

Number = int | float
# A number, or what gives it from the options.
Length = int | Callable[..., int]
Kind = Literal["window", "step", "expression"]
# More bars than any cache holds, more state than any factor needs.
MOST_BARS: Final = 100_000
MOST_STATE: Final = 10_000
MOST_OPTION: Final = 2**63


class Factor(msgspec.Struct, frozen=True, eq=False):
    """A factor as it was defined; call it with options to get an expression.

    `window` (bars seen), `state` (numbers kept) and `warmup` (bars from the start of a run to its first
    value) are numbers or functions of the options. One that `branches` on a symbol's numbers is stepped
    symbol by symbol. `unit`, `span`, `formula` and `source` document it.
    """

    name: str
    kind: Kind
    function: Callable[..., Any]
    fields: tuple[str, ...]
    options: Mapping[str, Number]
    window: Length = 1
    state: Length = 0
    warmup: Length = 0
    branches: bool = False
    family: str = ""
    formula: str = ""
    unit: str = ""
    span: str = ""
    source: str = ""

    def __call__(self, *values: Number, **named: Number) -> Expr:
        """Give the factor with these options as an expression; raises DefinitionError for wrong ones."""
        chosen = self._chosen(values, named)
        if self.kind == "expression":
            try:
                made = self.function(**chosen)
            except KlinehubError:
                raise
            except Exception as exc:
                raise DefinitionError(f"{self.name}() could not be worked out: {exc}.") from exc
            if not isinstance(made, Expr):
                raise DefinitionError(f"{self.name}() gave {made!r}: return an expression of factors.")
            return made
        options = tuple(chosen.values())
        self.lookback(options)
        return Expr("factor", (), (self, *options))

    def __reduce__(self) -> str | tuple[Any, ...]:
        # Another process has klinehub's own by name, compiled once; a copy would be another factor to it.
        name = f"{self.function.__module__}:{self.function.__qualname__}"
        return (resolve_name, (name,)) if self.is_own else super().__reduce__()

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value}" for name, value in self.options.items())
        return f"<Factor {self.name}({options})>"

    @property
    def is_own(self) -> bool:
        """Whether this factor came with klinehub."""
        return bool(self.function.__module__.startswith("klinehub."))

    @property
    def title(self) -> str:
        """The first line of the function's docstring."""
        return (inspect.getdoc(self.function) or self.name).split("\n")[0]

    def size(self, options: tuple[Number, ...]) -> int:
        """Give how many numbers a run with these options keeps."""
        return self._number("state", self.state, options, 1, MOST_STATE)

    def lookback(self, options: tuple[Number, ...]) -> int:
        """Give how many bars before a bar its value needs; more than any cache holds is refused."""
        if self.kind == "window":
            return self._number("window", self.window, options, 1, MOST_BARS) - 1
        return self._number("warmup", self.warmup, options, 0, MOST_BARS)

    def _chosen(self, values: tuple[Number, ...], named: Mapping[str, Number]) -> dict[str, Number]:
        """Give every option its value, by name."""
        if len(values) > len(self.options):
            raise DefinitionError(f"{self.name}() takes {len(self.options)} options, not {len(values)}.")
        given = dict(zip(self.options, values, strict=False))
        for name, value in named.items():
            if name not in self.options:
                raise UnknownName(f"option of {self.name}()", name, self.options)
            if name in given:
                raise DefinitionError(f"{self.name}() got its option {name} twice.")
            given[name] = value
        return {name: self._typed(name, given.get(name, default)) for name, default in self.options.items()}

    def _typed(self, name: str, value: Number) -> Number:
        """Give an option's value in the type of its default."""
        kind = type(self.options[name])
        most = MOST_OPTION if kind is int else sys.float_info.max
        is_number = type(value) in {int, float} and abs(value) <= most
        if not is_number or kind(value) != value:
            what = "a whole number" if kind is int else "a finite number"
            raise DefinitionError(f"{self.name}({name}={value!r}): give {what}.")
        return kind(value)

    def _number(self, what: str, rule: Length, options: tuple[Number, ...], least: int, most: int) -> int:
        """Work a length out of the options, and refuse what is none."""
        shown = ", ".join(f"{name}={value}" for name, value in zip(self.options, options, strict=True))
        try:
            number = rule(*options) if callable(rule) else rule
        except Exception as exc:
            text = f"The {what} of {self.name}({shown}) could not be worked out"
            raise DefinitionError(f"{text}: {exc}.") from exc
        if type(number) is not int or not least <= number <= most:
            text = f"The {what} of {self.name}({shown}) is {number!r}"
            raise DefinitionError(f"{text}: it has to be a whole number from {least} to {most:,}.")
        return number


@overload
def factor(function: Callable[..., Any], /) -> Factor: ...


@overload
def factor(
    *,
    window: Length | None = None,
    state: Length | None = None,
    warmup: Length | None = None,
    branches: bool = False,
    family: str = "",
    formula: str = "",
    unit: str = "",
    span: str = "",
    source: str = "",
) -> Callable[[Callable[..., Any]], Factor]: ...


def factor(
    function: Callable[..., Any] | None = None, /, **settings: Any
) -> Factor | Callable[[Callable[..., Any]], Factor]:
    """Make a factor of a function; raises DefinitionError when its parameters make none.

    *window* is how many bars a function of windows sees; *state* and *warmup* are what a stepped one keeps
    and how many bars it runs before its first value. Each is a number or a function of the options.
    *branches* says that it decides by more than `choose` what it does with a symbol.
    """
    if function is not None:
        return _defined(function, settings)
    return lambda one: _defined(one, settings)


def _defined(function: Callable[..., Any], settings: Mapping[str, Any]) -> Factor:
    """Read a function's parameters: fields first, then options."""
    name = function.__name__
    if name in RESERVED or not name.isidentifier():
        raise DefinitionError(f"{name} can not name a factor: the language has another meaning for it.")
    roles = _roles(function)
    places = [role for _, role, _ in roles]
    if places != sorted(places, key=("state", "window", "bar", "option").index):
        raise DefinitionError(f"{name}(): name the state first, then the fields, then the options.")
    fields = tuple(_field(name, one) for one, role, _ in roles if role in {"window", "bar"})
    options = {one: default for one, role, default in roles if role == "option"}
    kind = _kind(name, places, settings)
    kept = {key: value for key, value in settings.items() if value is not None}
    return Factor(name=name, kind=kind, function=function, fields=fields, options=options, **kept)


def _roles(function: Callable[..., Any]) -> list[tuple[str, str, Number]]:
    """Give each parameter's name, whether it is a state, window, bar or option, and its default."""
    hints = get_type_hints(function, include_extras=True)
    return [
        (one.name, *_role(function.__name__, one, hints.get(one.name)))
        for one in inspect.signature(function).parameters.values()
    ]


def _role(name: str, one: inspect.Parameter, hint: object) -> tuple[str, Number]:
    role = next((arg for arg in get_args(hint)[1:] if arg in {"window", "state", "bar"}), "option")
    if one.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD:
        raise DefinitionError(f"{name}(): its parameters are plain ones, without * and /.")
    if role != "option":
        return str(role), 0
    if one.default is inspect.Parameter.empty:
        raise DefinitionError(
            f"{name}(): {one.name!r} has no default. An option needs one; a field is annotated "
            f"`{one.name}: Window`."
        )
    if not isinstance(one.default, int | float) or isinstance(one.default, bool):
        raise DefinitionError(f"{name}(): the default of {one.name} is {one.default!r}, not a number.")
    return "option", one.default


def _field(name: str, parameter: str) -> str:
    field = parameter.rstrip("_")
    if field not in READABLE:
        raise UnknownName(f"field read by {name}():", field, READABLE)
    return field


def _kind(name: str, places: list[str], settings: Mapping[str, Any]) -> Kind:
    """Tell the three forms of a factor apart, and refuse what is none or two of them."""
    windows, bars, states = (places.count(role) for role in ("window", "bar", "state"))
    if windows and not bars and not states:
        if settings.get("window") is None:
            raise DefinitionError(f"{name}(): say how many bars it sees, as @factor(window=20).")
        return "window"
    if bars and states == 1 and not windows:
        if settings.get("state") is None or settings.get("warmup") is None:
            raise DefinitionError(
                f"{name}(): say what it keeps and when its value counts, as @factor(state=2, warmup=100)."
            )
        return "step"
    if not windows and not bars and not states:
        return "expression"
    raise DefinitionError(
        f"{name}(): give it `Window` fields alone, or one `State` and `Bar` fields, or options alone."
    )
