"""The oracle: frames and bodies as `json`, `msgspec`, `float` and integers read them, and none of our code.

What it gives as *due* is of the documented form and has to be taken; what it gives otherwise may be taken,
and then only with these numbers; what it gives as None is never taken.
"""

import json
import math
import re
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from klinehub.domain.ticker import Ticker

_NUMERAL: Final = re.compile(r"([+-]?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?", re.ASCII)
_PLAIN: Final = re.compile(r"(?:0|[1-9][0-9]*)(?:\.[0-9]+)?", re.ASCII)
_WHOLE: Final = re.compile(r"0|[1-9][0-9]*", re.ASCII)
MOST: Final = 2**63
MOST_DECIMALS: Final = 18
# Beyond this many digits or powers of ten a numeral may be refused unread.
MOST_DIGITS: Final = 40
MOST_POWER: Final = 400


class Bare(str):
    """A number that stood in the JSON without quotes, in its own spelling."""

    __slots__ = ()


class TooDeep(Exception):
    """JSON nested deeper than Python follows: valid or not, only a crash would be wrong."""


class Told(NamedTuple):
    """A kline event; numbers in their spelling."""

    due: bool
    symbol: str
    timeframe: str
    closed: bool
    event_time: int
    open_time: int
    trades: int
    prices: tuple[str, ...]  # open, high, low, close
    volumes: tuple[str, ...]  # base, quote, taker's base, taker's quote


class Exactly(NamedTuple):
    """A numeral as integers: value = mantissa / 10**decimals."""

    mantissa: int
    decimals: int


@lru_cache(maxsize=64)
def exactly(text: str) -> Exactly | None:
    """Read a numeral; None when it is none, or has an exponent that nobody means."""
    match = _NUMERAL.fullmatch(text)
    if match is None:
        return None
    sign, whole, part, exponent = match[1], match[2], match[3] or "", match[4] or "0"
    if len(whole) + len(part) > 4 * MOST_DIGITS or len(exponent) > 4 or abs(int(exponent)) > 3 * MOST_POWER:
        return None
    mantissa, decimals = int(whole + part), len(part) - int(exponent)
    if decimals < 0:
        mantissa, decimals = mantissa * 10**-decimals, 0
    return Exactly(-mantissa if sign == "-" else mantissa, decimals)


def _json(text: bytes) -> tuple[Any, bool]:
    """Read JSON; gives the value and whether every reader agrees on it (no key twice, nothing exotic).

    Raises ValueError when it is no JSON, TooDeep when it is nested too deep to tell.
    """
    agreed = True

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal agreed
        table = dict(found)
        agreed &= len(table) == len(found)
        return table

    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        value = json.loads(
            text.decode(), object_pairs_hook=pairs, parse_int=Bare, parse_float=Bare, parse_constant=refuse
        )
    except RecursionError as exc:
        raise TooDeep from exc
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        agreed = False
    return value, agreed


def _integer(value: Any) -> int | None:
    """Read an integer of any spelling: 5, 5.0, 5e0, "5"; None when it is none."""
    number = exactly(value) if isinstance(value, str) else None
    if number is None or number.mantissa % 10**number.decimals:
        return None
    return int(number.mantissa // 10**number.decimals)


def _is_plain_integer(value: Any) -> bool:
    return isinstance(value, Bare) and _WHOLE.fullmatch(value) is not None and int(value) < MOST


def _is_plain_text(value: Any) -> bool:
    return (
        isinstance(value, str)
        and not isinstance(value, Bare)
        and _PLAIN.fullmatch(value) is not None
        and len(value) <= MOST_DIGITS
    )


def read_frame(frame: bytes) -> Told | None:
    """Read a frame; None when it is no kline event whose numbers are numbers.

    Raises TooDeep.
    """
    try:
        whole, agreed = _json(frame)
        body = whole.get("data", whole)
        bar = body["k"]
        if body["e"] != "kline" or isinstance(body["e"], Bare):
            return None
        integers = [_integer(value) for value in (body["E"], bar["t"], bar["n"])]
        numerals = [bar[key] for key in "ohlcvqVQ"]
        names = [bar["s"], bar["i"]]
        closed = bar["x"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    event_time, open_time, trades = integers
    texts = all(isinstance(one, str) and not isinstance(one, Bare) for one in (*numerals, *names))
    if not texts or not isinstance(closed, bool) or event_time is None or open_time is None or trades is None:
        return None
    if any(exactly(one) is None for one in numerals) or min(event_time, open_time, trades) < 0:
        return None
    due = (
        agreed
        and all(map(_is_plain_integer, (body["E"], bar["t"], bar["n"])))
        and all(map(_is_plain_text, numerals))
        and not {"error", "ps", "ct", "cs"} & body.keys()
        and type(body.get("s", "")) is str
    )
    prices, volumes = tuple(numerals[:4]), tuple(numerals[4:])
    return Told(due, names[0], names[1], closed, event_time, open_time, trades, prices, volumes)


class Row(NamedTuple):
    """One row of a klines answer; numbers in their spelling."""

    due: bool
    open_time: int
    trades: int
    prices: tuple[str, ...]
    volumes: tuple[str, ...]


def read_body(body: bytes) -> list[Row] | None:
    """Read a klines answer; None when it is none.

    Raises TooDeep.
    """
    try:
        table, agreed = _json(body)
        if not isinstance(table, list):
            return None
        rows = [_row(line, agreed=agreed) for line in table]
    except ValueError:
        return None
    return None if None in rows else [row for row in rows if row is not None]


def _row(line: Any, *, agreed: bool) -> Row | None:
    if not isinstance(line, list) or len(line) < 12:
        return None
    kept = [line[field] for field in (1, 2, 3, 4, 5, 7, 9, 10)]
    open_time, trades = _integer(line[0]), _integer(line[8])
    if open_time is None or trades is None or min(open_time, trades) < 0:
        return None
    if any(not isinstance(one, str) or exactly(one) is None for one in kept):
        return None
    due = (
        agreed
        and all(map(_is_plain_integer, (line[0], line[6], line[8])))
        and all(map(_is_plain_text, (*kept, line[11])))
    )
    return Row(due, open_time, trades, tuple(kept[:4]), tuple(kept[4:]))


def _counted(value: Any) -> int | None:
    """Read an integer as answers are read: one with an exponent or a point is a float64, 1e-400 is 0."""
    exact = _integer(value)
    if exact is not None or not isinstance(value, str) or exactly(value) is None:
        return exact
    near = float(value)
    return int(near) if near.is_integer() else None


def _ticker(entry: Any) -> tuple[float, float | None, int | None]:
    """Give what a 24 h ticker's entry says: turnover, change and time; a change of None was not told."""
    change = float(entry["priceChangePercent"]) if "priceChangePercent" in entry else None
    return float(entry["quoteVolume"]), change, _counted(entry["closeTime"]) if "closeTime" in entry else 0


def _plain(ticker: Ticker) -> tuple[float, float | None, int | None]:
    change = ticker.change_percent
    return ticker.quote_volume, None if math.isnan(change) else change, ticker.close_time


def _market_data(whole: Any, reader: str, value: Any) -> bool:
    """Tell whether market data is what is said: some of the rows, in their order, or the one amount."""
    if reader == "parse_open_interest":
        said = (_counted(whole["time"]), float(whole["openInterest"]))
        return bool(said == value and value[0] >= 0 and 0 <= value[1] < math.inf)
    if reader == "parse_funding_hours":
        kept = [one for one in whole if _has(one, "symbol", "fundingIntervalHours")]
        pairs = [(one["symbol"], _counted(one["fundingIntervalHours"])) for one in kept]
        return all((name, hours) in pairs and hours > 0 for name, hours in value.items())
    keys = _PREMIUM if reader == "parse_premiums" else _EVENT
    rows = whole["data"] if isinstance(whole, dict) else whole
    marks, unread = value
    left = list(marks)
    for row in rows:
        if left and _has(row, *keys[:4]) and _is_mark(row, left[0], keys):
            left.pop(0)
    return not left and len(marks) + unread <= len(rows)


_EVENT: Final = ("s", "E", "p", "i", "r", "T")
_PREMIUM: Final = ("symbol", "time", "markPrice", "indexPrice", "lastFundingRate", "nextFundingTime")


def _has(row: Any, *keys: str) -> bool:
    return isinstance(row, dict) and row.keys() >= {*keys}


def _is_mark(row: Any, mark: Any, keys: tuple[str, ...]) -> bool:
    """Tell whether a row says what was read of it; a price of zero and a rate without funding are unknown."""
    symbol, time = row[keys[0]], row[keys[1]]
    price, index, rate = row[keys[2]], row[keys[3]], row.get(keys[4], "")
    paid = bool(rate) and bool(_counted(row.get(keys[5], Bare("0"))))
    try:
        numbers = (float(price) or math.nan, float(index) or math.nan, float(rate) if paid else math.nan)
        finite = math.isfinite(float(price)) and math.isfinite(float(index))
    except (TypeError, ValueError):
        return False
    known = zip(numbers, mark[2:], strict=True)
    same = finite and all(one == told or (math.isnan(one) and math.isnan(told)) for one, told in known)
    coins = keys is _EVENT and _counted(row.get("st", Bare("1"))) == 2
    return (
        same
        and (symbol, _counted(time)) == mark[:2]
        and not coins
        and (not paid or math.isfinite(numbers[2]))
    )


_LISTED: Final = ("symbol", "pair", "baseAsset", "quoteAsset", "status", "contractType", "underlyingType")


def _is_printable(row: dict[str, Any]) -> bool:
    return all(row.get(name, "").isprintable() for name in _LISTED)


def read_answer(body: bytes, reader: str, value: Any) -> bool:
    """Tell whether *value*, which *reader* has made of a body, is what the body says."""
    try:
        whole, _ = _json(body.decode("utf-8", "replace").encode())
    except TooDeep:
        return True
    except ValueError:
        return False
    match reader:
        case "parse_time":
            fine = _integer(whole["serverTime"]) == value >= 0
        case "parse_answer":
            same = whole["id"] == str(value.id) or _integer(whole["id"]) == value.id
            fine = same and (whole.get("error") is None) == (value.error is None)
        case "parse_trade_times":
            fine = {entry["symbol"]: _integer(entry["time"]) for entry in whole} == value
        case "parse_tickers":
            told = {entry["symbol"]: _ticker(entry) for entry in whole}
            fine = told == {name: _plain(one) for name, one in value.items()}
            fine = fine and all(0 <= one.quote_volume < math.inf for one in value.values())
        case "parse_marks" | "parse_premiums" | "parse_open_interest" | "parse_funding_hours":
            fine = _market_data(whole, reader, value)
        case _:
            # A name that cannot be printed is none, and its row is left out.
            rows = [one for one in whole["symbols"] if _is_printable(one)]
            names = [(one["symbol"], one["status"]) for one in rows]
            fine = names == [(one.symbol, one.status) for one in value]
    return bool(fine)
