"""The wire: kline frames parsed and merged in one compiled call over all that a read brought.

1. Each frame is scanned key by key, in any order and with any white space, raw or combined.
2. Prices become the nearest float64, volumes integer mantissas in the symbol's decimals.
3. The bar is merged into the ring and the larger bars are lifted.
4. What is unusual (an exponent, an escape, over 18 digits, another event) is left to `slow`, and only
   closes, index changes and anomalies are reported.
"""

from typing import Final

import numpy as np
from numba import njit

from klinehub.feed.directory import Directory, find_row, find_timeframe, pack
from klinehub.feed.numerals import integer, mantissa, nearest, skip
from klinehub.panel.memory import (
    CLOSE,
    F64,
    HIGH,
    I64,
    LOW,
    MANTISSA_MAX,
    OPEN,
    OPEN_TIME,
    QUOTE,
    TAKER_BASE,
    TAKER_QUOTE,
    TRADES,
    U8,
    VOLUME,
    Memory,
    bar_index,
    bar_open,
    kernel,
)
from klinehub.panel.merge import CLOSED_NOW, OLD, QUIET, merge_closed, merge_forming
from klinehub.panel.resample import lift

# Reports beside the flags of `merge`.
UNUSUAL: Final = 32  # a frame for `slow`: valid perhaps, but not of the plain form
BAD: Final = 64  # a kline that contradicts itself
WIDER: Final = 128  # more decimals than the row carries, or more than fit with the row's
UNLISTED: Final = 256  # a symbol or timeframe that is not listened to

# An event is 17 words: a bar's ten, then these.
ROW_AT, TIMEFRAME_AT, CLOSED_AT, EVENT_AT, PRICE_DECIMALS, BASE_DECIMALS, QUOTE_DECIMALS = range(10, 17)
EVENT_WORDS: Final = 17
REPORT_WORDS: Final = 5  # flags, frame, row, timeframe, open time

_SPACE, _QUOTE, _COMMA, _COLON, _BACKSLASH, _OPEN, _CLOSE = 32, 34, 44, 58, 92, 123, 125

# The fields of a kline event: the key byte (128 more for those around the `k` object), how it is read,
# and the word it goes to.
NAME, WHOLE, PRICE, BASE, QUOTED = range(5)
AROUND: Final = 128
_FIELDS: Final = (
    (ord("e") + AROUND, NAME, 0),
    (ord("s"), NAME, ROW_AT),
    (ord("i"), NAME, TIMEFRAME_AT),
    (ord("x"), NAME, CLOSED_AT),
    (ord("E") + AROUND, WHOLE, EVENT_AT),
    (ord("t"), WHOLE, OPEN_TIME),
    (ord("n"), WHOLE, TRADES),
    (ord("o"), PRICE, OPEN),
    (ord("h"), PRICE, HIGH),
    (ord("l"), PRICE, LOW),
    (ord("c"), PRICE, CLOSE),
    (ord("v"), BASE, VOLUME),
    (ord("V"), BASE, TAKER_BASE),
    (ord("q"), QUOTED, QUOTE),
    (ord("Q"), QUOTED, TAKER_QUOTE),
)
FIELDS: Final = np.array(_FIELDS, np.int64)
SPANS: Final = 256
# Words as `pack` gives them.
KLINE, DATA, TRUE, FALSE, NULL = (
    int.from_bytes(word, "big") for word in (b"kline", b"data", b"true", b"false", b"null")
)
# Which bytes of a string stand for themselves.
PLAIN: Final = np.array([32 <= byte < 128 and byte not in b'"\\' for byte in range(256)])
# What `locate` has met of a frame.
PLAIN_SEEN, DATA_SEEN, BAR_SEEN, MIXED = 1, 2, 4, 3


@kernel
def _letter_end(buf: U8, at: int, end: int) -> int:
    """Find the end of a letter of two to four UTF-8 bytes; -1 where the bytes are none."""
    first = buf[at]
    more = int(first >= 0xC2) + int(first >= 0xE0) + int(first >= 0xF0)
    if more == 0 or first > 0xF4 or at + more >= end:
        return -1
    for n in range(1, more + 1):
        if buf[at + n] & 0xC0 != 0x80:
            return -1
    second = buf[at + 1]
    long = (first == 0xE0 and second < 0xA0) or (first == 0xF0 and second < 0x90)
    beyond = (first == 0xED and second > 0x9F) or (first == 0xF4 and second > 0x8F)
    return -1 if long or beyond else at + more + 1


@kernel
def _until_quote(buf: U8, at: int, end: int) -> int:
    """Find the closing quote of a string that starts at *at*; -1 for an escape, no text or none."""
    while at < end:
        while at < end and PLAIN[buf[at]]:
            at += 1
        if at == end or buf[at] < 0x80:
            return at if at < end and buf[at] == _QUOTE else -1
        at = _letter_end(buf, at, end)
        if at < 0:
            return -1
    return -1


@kernel
def _digits_end(buf: U8, at: int, end: int) -> int:
    """Find the end of one digit or more; -1 for none."""
    start = at
    while at < end and ord("0") <= buf[at] <= ord("9"):
        at += 1
    return at if at > start else -1


@kernel
def _scalar_end(buf: U8, at: int, end: int) -> int:
    """Find the end of a number, true, false or null that starts at *at*; -1 for anything else."""
    start = at
    if buf[at] > ord("9"):
        while at < end and ord("a") <= buf[at] <= ord("z"):
            at += 1
        return at if pack(buf, start, at) in (TRUE, FALSE, NULL) else -1
    start += int(buf[at] == ord("-"))
    at = _digits_end(buf, start, end)
    if at > start + 1 and buf[start] == ord("0"):
        return -1
    if 0 < at < end and (buf[at] == _COMMA or buf[at] == _CLOSE):
        return at
    if 0 < at < end and buf[at] == ord("."):
        at = _digits_end(buf, at + 1, end)
    if 0 < at < end and buf[at] | 32 == ord("e"):
        at += 1
        signed = at < end and (buf[at] == ord("+") or buf[at] == ord("-"))
        at = _digits_end(buf, at + int(signed), end)
    return at


@kernel
def _following(buf: U8, at: int, end: int) -> int:
    """Find what follows a value: the quote of the next key, or a closing bracket; *end* for neither."""
    at = skip(buf, at, end)
    if at < end and buf[at] == _COMMA:
        at = skip(buf, at + 1, end)
        return at if at < end and buf[at] == _QUOTE else end
    return at if at < end and buf[at] == _CLOSE else end


@kernel
def locate(buf: U8, at: int, end: int, spans: I64) -> int:  # noqa: C901, PLR0911, PLR0912 - one pass over the bytes
    """Find where each one-letter field of a frame's text lies: `spans[key]` = start, end.

    What is no JSON, two bars, two `data` objects, or fields both in `data` and beside it are left to the
    slow path. Calls that take arrays cost more here than the bytes they read (4.6 us a frame against
    0.7), hence one function.
    """
    depth, around, seen = 1, AROUND, 0
    at = skip(buf, at, end)
    if at >= end or buf[at] != _OPEN:
        return UNUSUAL
    at = skip(buf, at + 1, end)
    while at < end:
        c = buf[at]
        at += 1
        if c == _CLOSE:
            depth -= 1
            around = AROUND
            if depth == 0:
                whole = skip(buf, at, end) == end and seen & MIXED != MIXED
                return QUIET if whole else UNUSUAL
            at = _following(buf, at, end)
        elif c == _QUOTE:
            key_end = _until_quote(buf, at, end)
            if key_end < 0:
                return UNUSUAL
            key, single = int(buf[at]), key_end == at + 1
            data = depth == 1 and key_end == at + 4 and pack(buf, at, key_end) == DATA
            bar = single and key == ord("k") and around == AROUND
            at = skip(buf, key_end + 1, end)
            if at >= end or buf[at] != _COLON:
                return UNUSUAL
            at = skip(buf, at + 1, end)
            if at >= end:
                return UNUSUAL
            if buf[at] == _OPEN:
                if (not bar or seen & BAR_SEEN) and (not data or seen & DATA_SEEN):
                    return UNUSUAL
                seen |= (BAR_SEEN if bar else DATA_SEEN) | (PLAIN_SEEN if bar and depth == 1 else 0)
                around = 0 if bar else AROUND
                depth += 1
                at = skip(buf, at + 1, end)
            else:
                quoted = buf[at] == _QUOTE
                start = at + 1 if quoted else at
                stop = _until_quote(buf, start, end) if quoted else _scalar_end(buf, start, end)
                if stop < 0 or bar or data:
                    return UNUSUAL
                if single and key < AROUND:
                    seen |= PLAIN_SEEN if depth == 1 else 0
                    spans[key + around, 0], spans[key + around, 1] = start, stop
                at = _following(buf, stop + 1 if quoted else stop, end)
        else:
            return UNUSUAL
    return UNUSUAL


@kernel
def parse(buf: U8, at: int, end: int, where: Directory, spans: I64, out: I64, out_f: F64) -> int:
    """Parse one frame into an event (17 words, two views); QUIET when it is a whole kline event.

    *spans* is scratch, [256, 2].
    """
    for f in range(FIELDS.shape[0]):
        spans[FIELDS[f, 0], 0] = -1
    if locate(buf, at, end, spans) != QUIET:
        return UNUSUAL
    out[BASE_DECIMALS] = out[QUOTE_DECIMALS] = -1
    out[PRICE_DECIMALS] = 0
    for f in range(FIELDS.shape[0]):
        key, kind, word = FIELDS[f, 0], FIELDS[f, 1], FIELDS[f, 2]
        start, stop = spans[key, 0], spans[key, 1]
        # A price or a name is a text; the others are numbers or literals, in quotes or not.
        if start < 0 or (kind != WHOLE and word != CLOSED_AT and buf[start - 1] != _QUOTE):
            return UNUSUAL
        if kind == WHOLE:
            # A count in quotes is none: taken for one, it made a bar that REST could never close.
            out[word] = integer(buf, start, stop)
            if out[word] < 0 or buf[start - 1] == _QUOTE:
                return UNUSUAL
        elif kind != NAME:
            value, decimals = mantissa(buf, start, stop)
            if value < 0 or not _keep(kind, word, value, decimals, out, out_f):
                return UNUSUAL
    # Only the word itself proves a close: "true" in quotes is no word of the exchange.
    closed = pack(buf, spans[ord("x"), 0], spans[ord("x"), 1])
    quoted = buf[spans[ord("x"), 0] - 1] == _QUOTE
    if (
        quoted
        or pack(buf, spans[ord("e") + AROUND, 0], spans[ord("e") + AROUND, 1]) != KLINE
        or (closed not in (TRUE, FALSE))
    ):
        return UNUSUAL
    out[ROW_AT] = find_row(where, buf, spans[ord("s"), 0], spans[ord("s"), 1])
    out[TIMEFRAME_AT] = find_timeframe(where, pack(buf, spans[ord("i"), 0], spans[ord("i"), 1]))
    out[CLOSED_AT] = 1 if closed == TRUE else 0
    return QUIET


@kernel
def _keep(kind: int, word: int, value: int, decimals: int, out: I64, out_f: F64) -> bool:
    """Keep a numeral: prices as the nearest float, volumes as mantissas whose decimals have to agree."""
    if kind == PRICE:
        out_f[word] = nearest(value, decimals)
        out[PRICE_DECIMALS] = max(out[PRICE_DECIMALS], decimals)
        return not np.isnan(out_f[word])
    out[word] = value
    if value == 0:
        return True
    at = BASE_DECIMALS + kind - BASE
    fine = bool(out[at] < 0 or out[at] == decimals)
    out[at] = decimals
    return fine


@kernel
def fit(mem: Memory, event: I64, event_f: F64) -> int:
    """Bring an event's mantissas to its row's decimals and check that the bar makes sense."""
    row, t = event[ROW_AT], event[TIMEFRAME_AT]
    known = mem.decimals[row]
    if event[BASE_DECIMALS] > known[1] or event[QUOTE_DECIMALS] > known[2]:
        return WIDER
    for word, kind in ((VOLUME, 1), (QUOTE, 2), (TAKER_BASE, 1), (TAKER_QUOTE, 2)):
        for _ in range(known[kind] - event[BASE_DECIMALS + kind - 1]):
            if event[word] == 0:
                break
            if event[word] > MANTISSA_MAX // 10:
                return WIDER
            event[word] *= 10
    high, low = event_f[HIGH], event_f[LOW]
    ordered = low <= min(event_f[OPEN], event_f[CLOSE]) and high >= max(event_f[OPEN], event_f[CLOSE])
    index = bar_index(event[OPEN_TIME], mem.grid[t, 0], mem.grid[t, 1])
    aligned = bar_open(index, mem.grid[t, 0], mem.grid[t, 1]) == event[OPEN_TIME]
    if not ordered or not aligned or low < 0 or event[OPEN_TIME] > event[EVENT_AT]:
        return BAD
    known[0] = max(known[0], event[PRICE_DECIMALS])
    return QUIET


@kernel
def apply(mem: Memory, event: I64, latest: int, frame: int, closed: I64, reports: I64, count: int) -> int:
    """Merge one fitted event and lift the larger bars; adds its reports and gives their new number."""
    row, t = event[ROW_AT], event[TIMEFRAME_AT]
    # A frame that was held up on its way is as old as what it tells, not as young as its arrival.
    mem.heard[t, row] = max(mem.heard[t, row], min(event[EVENT_AT], latest))
    closed[:] = -1
    if event[CLOSED_AT] == 1:
        flags = merge_closed(mem, t, row, event)
        if flags & CLOSED_NOW:
            closed[t] = event[OPEN_TIME]
    else:
        flags = merge_forming(mem, t, row, event, event[EVENT_AT])
    if flags & OLD == 0:
        flags |= lift(mem, t, row, closed)
        for larger in range(t + 1, closed.size):
            if closed[larger] >= 0:
                count = report(reports, count, CLOSED_NOW, frame, row, larger, closed[larger])
    if flags & ~OLD:
        count = report(reports, count, flags, frame, row, t, event[OPEN_TIME])
    return count


@kernel
def report(reports: I64, count: int, flags: int, frame: int, row: int, t: int, time: int) -> int:
    """Add one line to *reports* ([n, 5]) and give the new number of lines."""
    line = reports[count]
    line[0], line[1], line[2], line[3], line[4] = flags, frame, row, t, time
    return count + 1


@njit(cache=True, nogil=True)
def ingest(
    mem: Memory, where: Directory, buf: U8, ends: I64, frames: int, latest: int, reports: I64, told: I64
) -> int:
    """Parse and merge *frames* frames that lie end to end in *buf*; gives the number of reports.

    No event is believed to be from after exchange time *latest*. *reports* needs room for
    (timeframes + 1) lines a frame; `told[0]` becomes the newest event time of the
    klines, 0 when there was none.
    """
    event = np.zeros(EVENT_WORDS, np.int64)
    event_f = event.view(np.float64)
    spans = np.zeros((SPANS, 2), np.int64)
    closed = np.full(mem.grid.shape[0], -1, np.int64)
    count, start = 0, 0
    told[0] = 0
    for frame in range(frames):
        flags = parse(buf, start, ends[frame], where, spans, event, event_f)
        start = ends[frame]
        if flags == QUIET:
            unlisted = event[ROW_AT] < 0 or event[TIMEFRAME_AT] < 0
            flags = UNLISTED if unlisted else fit(mem, event, event_f)
        if flags == QUIET:
            told[0] = max(told[0], event[EVENT_AT])
            count = apply(mem, event, latest, frame, closed, reports, count)
        else:
            count = report(reports, count, flags, frame, -1, -1, 0)
    return count
