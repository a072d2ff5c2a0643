"""The four targets: how a batch of inputs is given to the decoders, and what is held against each answer."""

import math
import struct
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
from tests.fuzz.decoders import ANSWERS, SCALE, WHERE, Decoders, Kept
from tests.fuzz.oracle import (
    MOST,
    MOST_DECIMALS,
    MOST_DIGITS,
    Exactly,
    Told,
    TooDeep,
    exactly,
    read_answer,
    read_body,
    read_frame,
)
from tests.fuzz.shapes import NAMES

from klinehub.errors import DataError, FeedError
from klinehub.feed.wire import EVENT_WORDS, SPANS
from klinehub.panel.merge import QUIET

MINUTE: Final = 60_000
EXACT: Final = 2**53
# Of the frames that neither the compiled path nor the oracle takes, one in so many goes through the hub.
SPARED: Final = 2
# Bytes that end, prolong or escape what they stand beside.
POISON: Final = (
    (b"", b""),
    (b'{"k":', b'0"}}}' * 12),
    (b'"', b'","o":"7","x":true}}' * 3),
    (b"\\", b'":1,"e":"kline"}' * 4),
    (b"1", b"9" * 64),
    (b"{", b"}" * 64),
    (b",", b"\xff" * 64),
    (b"e", b"\x00" * 64),
    (b"\xe5", b"\x80" * 64),
    (b" ", b" ]}" * 20),
)


class Verdicts(NamedTuple):
    """What came of a batch: how many inputs were taken, and what is wrong by the input's number."""

    accepted: int
    wrong: list[tuple[int, str]]


def laid(inputs: Sequence[bytes], poison: Sequence[tuple[bytes, bytes]]) -> tuple[Any, Any, Any]:
    """Lay inputs into one buffer with poison around each; gives buffer, begins and ends."""
    pieces, begins, ends, at = [], [], [], 0
    for n, data in enumerate(inputs):
        before, after = poison[n % len(poison)]
        begins.append(at + len(before))
        ends.append(at + len(before) + len(data))
        pieces += [before, data, after]
        at += len(before) + len(data) + len(after)
    text = bytearray(b"".join(pieces)) or bytearray(1)
    return np.frombuffer(text, np.uint8), np.array(begins, np.int64), np.array(ends, np.int64)


def bits(values: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)


# Frames.


def frames(inputs: Sequence[bytes], decoders: Decoders) -> Verdicts:
    """Parse frames compiled, twice among different neighbours, then each through the hub."""
    flags, words = _parsed(inputs, decoders, ((b"", b""),), 0)
    again, others = _parsed(inputs, decoders, POISON, 7)
    differ = (flags != again) | ((flags == QUIET) & (words != others).any(axis=1))
    wrong = [(int(n), "what stands beside the frame changes what is read") for n in np.flatnonzero(differ)]
    accepted = 0
    for n, (data, flag) in enumerate(zip(inputs, flags.tolist(), strict=True)):
        try:
            told = read_frame(data)
        except TooDeep:
            told = None
        if told is None and flag != QUIET and n % SPARED:
            continue
        try:
            kept = decoders.hub.take(data)
        except Exception as exc:  # noqa: BLE001 - whatever it is, it would have ended the hub's feed
            wrong.append((n, f"crash by {type(exc).__name__}: {exc}"))
            continue
        accepted += kept is not None
        reason = _parse_fault(words[n], told) if flag == QUIET else ""
        reason = reason or _hub_fault(kept, told)
        if reason:
            wrong.append((n, reason))
    return Verdicts(accepted, wrong)


def _parsed(inputs: Sequence[bytes], decoders: Decoders, poison: Any, fill: int) -> tuple[Any, Any]:
    buf, begins, ends = laid(inputs, poison)
    flags = np.zeros(len(inputs), np.int64)
    words = np.full((len(inputs), EVENT_WORDS), fill, np.int64)
    spans = np.full((SPANS, 2), fill, np.int64)
    decoders.parse_frames(buf, begins, ends, WHERE, spans, flags, words, words.view(np.float64))
    return flags, words


def _parse_fault(words: Any, told: Told | None) -> str:
    """Hold the 17 words of a compiled reading against the oracle's."""
    if told is None:
        return "the compiled path reads what is no kline event"
    prices, volumes = [exactly(text) for text in told.prices], [exactly(text) for text in told.volumes]
    if None in prices or None in volumes:
        return "the compiled path reads what is no number"
    row = NAMES.index(told.symbol) if told.symbol in NAMES else -1
    places = [_places(volumes[at], volumes[at + 2]) for at in (0, 1)]
    expected = [
        row,
        0 if told.timeframe == "1m" else -1,
        told.closed,
        told.event_time,
        _decimals(prices),
        *places,
    ]
    base, quote, base_taken, quote_taken = (one.mantissa for one in volumes if one)
    bar = [base, quote, told.trades, base_taken, quote_taken]
    fine = (
        words[10:].tolist() == expected
        and words[5:10].tolist() == bar
        and words[0] == told.open_time
        and words[1:5].tobytes() == bits([float(text) for text in told.prices])
    )
    return "" if fine else f"the compiled path reads other numbers: {words.tolist()} and the oracle {told}"


def _decimals(numbers: Sequence[Exactly | None]) -> int:
    return max(max(0, one.decimals) for one in numbers if one)


def _places(one: Exactly | None, other: Exactly | None) -> int:
    """Give the decimals that two volumes share, -1 when both are zero."""
    used = {number.decimals for number in (one, other) if number and number.mantissa}
    return -1 if not used else used.pop() if len(used) == 1 else -9


def _hub_fault(kept: Kept | None, told: Told | None) -> str:
    """Hold what the hub keeps of a frame against the oracle's reading."""
    if told is None:
        return "the hub keeps what is no kline event" if kept else ""
    listed = told.symbol in NAMES and told.timeframe == "1m"
    expected = _expected(told) if listed else None
    if kept is None:
        return f"the hub refuses a sound kline event: {told}" if told.due and expected else ""
    if expected != kept:
        return f"the hub keeps another bar: {kept} and the oracle reads {expected}, from {told}"
    return ""


def _expected(told: Told) -> Kept | None:
    """Give what the hub has to keep of a listed kline; None when it makes no sense or fits no 64 bits."""
    prices, volumes = [exactly(text) for text in told.prices], [exactly(text) for text in told.volumes]
    if None in prices or None in volumes:
        return None
    used = [one if one and one.mantissa else Exactly(0, 0) for one in volumes]
    needed = (_decimals(prices), _decimals(used[0::2]), _decimals(used[1::2]))
    scale = tuple(max(pair) for pair in zip(SCALE, needed, strict=True))
    mantissas = [one.mantissa * 10 ** (scale[1 + n % 2] - one.decimals) for n, one in enumerate(used)]
    floats = [float(text) for text in told.prices]
    first, high, low, last = floats
    sense = low >= 0 and low <= min(first, last) and high >= max(first, last) and math.isfinite(high)
    fits = max(scale) <= MOST_DECIMALS and min(mantissas) >= 0 and max(mantissas) < MOST
    on_grid = told.open_time % MINUTE == 0 and told.open_time <= told.event_time
    if not (sense and fits and on_grid) or max(told.trades, told.event_time) >= MOST:
        return None
    words = [told.open_time, *struct.unpack("<4q", bits(floats)), *mantissas[:2], told.trades, *mantissas[2:]]
    return Kept(NAMES.index(told.symbol), told.closed, list(words), scale)


# Bodies.


def bodies(inputs: Sequence[bytes], decoders: Decoders) -> Verdicts:
    """Read klines answers one by one."""
    wrong, accepted = [], 0
    for n, data in enumerate(inputs):
        exact = None
        try:
            exact = decoders.parse_klines(data)
        except DataError:
            pass
        except Exception as exc:  # noqa: BLE001 - any other exception is what is looked for
            wrong.append((n, f"crash by {type(exc).__name__}: {exc}"))
            continue
        accepted += exact is not None
        try:
            reason = _body_fault(exact, data)
        except TooDeep:
            reason = "the hub reads what is nested too deep" if exact else ""
        if reason:
            wrong.append((n, reason))
    return Verdicts(accepted, wrong)


def _body_fault(exact: Any, data: bytes) -> str:
    told = read_body(data)
    if told is None:
        return "the hub reads what is no klines answer" if exact else ""
    if exact is None:
        due = all(row.due for row in told) and _sound(told)
        return f"the hub refuses a sound answer: {told}" if due else ""
    if not _sound(told) or len(exact.rows) != len(told):
        return f"the hub reads other rows: {exact} and the oracle {told}"
    for kept, row in zip(exact.rows.tolist(), told, strict=True):
        volumes = [exactly(text) for text in row.volumes]
        scales = (exact.scale.base, exact.scale.quote) * 2
        fine = all(
            one and one.mantissa * 10**places == mantissa * 10**one.decimals
            for one, places, mantissa in zip(
                volumes, scales, (kept[5], kept[6], kept[8], kept[9]), strict=True
            )
        )
        same = (kept[0], kept[7]) == (row.open_time, row.trades)
        if not fine or not same or bits(kept[1:5]) != bits([float(text) for text in row.prices]):
            return f"the hub reads other rows: {exact} and the oracle {told}"
    return ""


def _sound(told: Sequence[Any]) -> bool:
    """Tell whether rows are in order, make sense and fit 64 bits together."""
    times = [row.open_time for row in told]
    if any(after <= before for before, after in pairwise(times)):
        return False
    numbers = [[exactly(text) for text in row.volumes] for row in told]
    for part in (0, 1):
        mine = [one for row in numbers for one in row[part::2] if one and one.mantissa]
        places = max((max(0, one.decimals) for one in mine), default=0)
        if any(not 0 < one.mantissa * 10 ** (places - one.decimals) < MOST for one in mine):
            return False
    for row in told:
        first, high, low, last = (float(text) for text in row.prices)
        if not (0 <= low <= min(first, last) <= max(first, last) <= high < math.inf):
            return False
    return all(max(row.open_time, row.trades) < MOST for row in told)


# Numerals.


def numerals(inputs: Sequence[bytes], decoders: Decoders) -> Verdicts:
    """Read numerals compiled, twice among different neighbours, and by the slow path."""
    results = []
    for poison in (((b"", b""),), POISON[1:]):
        buf, begins, ends = laid(inputs, poison)
        whole, floats = np.zeros((3, len(inputs)), np.int64), np.zeros((2, len(inputs)))
        decoders.parse_numerals(buf, begins, ends, *whole, *floats)
        results.append((whole, floats))
    (whole, floats), (again, others) = results
    differ = (whole != again).any(axis=0) | (floats.view(np.int64) != others.view(np.int64)).any(axis=0)
    wrong = [(int(n), "what stands beside the numeral changes what is read") for n in np.flatnonzero(differ)]
    lines = zip(inputs, whole.T.tolist(), floats.T.tolist(), strict=True)
    accepted = 0
    for n, (data, (mantissa, decimals, integer), (near, wide)) in enumerate(lines):
        accepted += mantissa >= 0
        text = data.decode("latin-1")
        exact = exactly(text)
        if exact is None and mantissa < 0 and integer < 0:
            reason = _slow_fault(text, None, decoders)
        else:
            reason = _plain_fault(text, exact, mantissa, decimals, integer) or _slow_fault(
                text, exact, decoders
            )
            if mantissa >= 0 and not reason:
                expected = bits([float(text)])
                fine = bits([wide]) == expected and (
                    bits([near]) == expected or (mantissa > EXACT and math.isnan(near))
                )
                reason = "" if fine else f"another float is read: {text} as {near!r} and {wide!r}"
        if reason:
            wrong.append((n, reason))
    return Verdicts(accepted, wrong)


def _plain_fault(text: str, exact: Exactly | None, mantissa: int, decimals: int, integer: int) -> str:
    """Hold the compiled readings of a numeral against the exact one."""
    digits = text.replace(".", "", 1)
    simple = digits.isdecimal() and digits.isascii() and text[:1] != "." and text[-1:] != "."
    read = exact if simple and len(digits) <= 18 else None
    expected = (read.mantissa, read.decimals) if read else (-1, 0)
    whole = read.mantissa if read and text.isdecimal() else -1
    if (mantissa, decimals, integer) != (*expected, whole):
        return f"another numeral is read: {text!r} as {mantissa} with {decimals} decimals, or {integer}"
    return ""


def _slow_fault(text: str, exact: Exactly | None, decoders: Decoders) -> str:
    """Hold the slow path's readings of a numeral against the exact one."""
    try:
        value = decoders.number(text)
    except DataError:
        simple = exact is not None and len(text) <= MOST_DIGITS and "e" not in text.lower()
        return f"a numeral is refused: {text!r}" if simple else ""
    if exact is None:
        return f"what is no numeral is taken: {text!r} as {value}"
    try:
        if bits([decoders.nearest_float(value)]) != bits([float(text)]):
            return f"the slow path reads another float: {text!r} as {decoders.nearest_float(value)!r}"
    except DataError:
        if math.isfinite(float(text)):
            return f"a finite number is refused: {text!r}"
    scaled = exact.mantissa * 10**8
    expected, rest = divmod(scaled, 10**exact.decimals)
    try:
        kept = decoders.whole(value, 8)
    except DataError:
        return f"a volume is refused: {text!r}" if not rest and 0 <= expected < MOST else ""
    return "" if not rest and kept == expected < MOST else f"another volume is kept: {text!r} as {kept}"


# Answers.


def answers(inputs: Sequence[bytes], decoders: Decoders) -> Verdicts:
    """Read each body as each of the things that it may be."""
    wrong, accepted = [], 0
    for n, data in enumerate(inputs):
        taken = False
        for name, read in zip(ANSWERS, decoders.answers, strict=True):
            try:
                value = read(data)
            except FeedError:
                continue
            except Exception as exc:  # noqa: BLE001 - any other exception is what is looked for
                wrong.append((n, f"crash by {type(exc).__name__}: {exc}"))
                continue
            if value is None:
                continue
            taken = True
            if not read_answer(data, name, value):
                wrong.append((n, f"a body does not say what is read: {value!r}"))
        accepted += taken
    return Verdicts(accepted, wrong)


TARGETS: Final[dict[str, Callable[[Sequence[bytes], Decoders], Verdicts]]] = {
    "frames": frames,
    "bodies": bodies,
    "numerals": numerals,
    "answers": answers,
}
