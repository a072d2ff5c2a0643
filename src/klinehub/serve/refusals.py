"""Refusals and failures as the exchange itself would tell them, so that clients understand them."""

from typing import Final

import msgspec

from klinehub.errors import Banned, Blocked, KlinehubError, Unanswered
from klinehub.feed.budget import WeightGate
from klinehub.feed.forwarded import Call, Reply
from klinehub.feed.rest import error_of
from klinehub.serve.admission import Declined

# What a reply of the exchange tells its client beside the body; the order counts are of the client's account.
PASSED_ON: Final = (
    "Content-Type",
    "Date",
    "Retry-After",
    *(f"X-MBX-ORDER-COUNT-{span}" for span in ("10S", "1M", "1D")),
)
_JSON: Final = "application/json"
_REJECTED, _FORBIDDEN, _TIMED_OUT, _TEAPOT, _TOO_MANY, _ELSEWHERE, _BROKEN = 400, 403, 408, 418, 429, 451, 500
_DISCONNECTED: Final = -1001
_TOO_MANY_REQUESTS: Final = -1003
_UNKNOWN: Final = -1007
_OF_A_PLACE: Final = 0
_IN_DOUBT: Final = "Execution status unknown: ask for it before you send this again."


def declined(error: Declined) -> Reply:
    """Give the answer to a request that klinehub does not pass on."""
    return _reply(error.status, error.code, error.message, error.wait)


def failed(error: KlinehubError, call: Call, gate: WeightGate) -> Reply:
    """Give the answer to a request that the gate turned away or that no reply came to."""
    now = gate.now()
    if isinstance(error, Banned):
        until = f"Way too many requests; IP banned until {error.until}. klinehub asks nothing until then."
        return _reply(_TEAPOT, _TOO_MANY_REQUESTS, until, _seconds(error.until - now))
    if isinstance(error, Blocked):
        wait = _seconds(gate.breaker.until - now)
        return _reply(gate.breaker.status or _FORBIDDEN, _OF_A_PLACE, str(error), wait)
    if isinstance(error, Unanswered) and call.method != "GET":
        return _reply(504, _UNKNOWN, f"{error} {_IN_DOUBT}")
    rests = not isinstance(error, Unanswered)
    return _reply(503, _DISCONNECTED, str(error), _seconds(gate.breaker.until - now) if rests else None)


def passed_on(reply: Reply, call: Call, gate: WeightGate) -> Reply:
    """Give a reply of the exchange as its client gets it, byte for byte where it is in its dialect."""
    kept = {name: reply.headers[name] for name in PASSED_ON if name in reply.headers}
    if reply.status < _REJECTED:
        return Reply(reply.status, kept, reply.body)
    now, code = gate.now(), error_of(reply.body)[0]
    if reply.status in {_TEAPOT, _TOO_MANY} and gate.banned_until > now:
        kept["Retry-After"] = str(_seconds(gate.banned_until - now))
    closes = (
        reply.status in {_FORBIDDEN, _TIMED_OUT, _TEAPOT, _TOO_MANY, _ELSEWHERE} or reply.status >= _BROKEN
    )
    if code is not None or not closes:
        return Reply(reply.status, kept, reply.body)
    own = _reply(reply.status, *_words(reply.status, call))
    return Reply(reply.status, {**kept, **own.headers}, own.body)


def _words(status: int, call: Call) -> tuple[int, str]:
    """Give the code and the text for a page that carries neither."""
    says = f"The exchange answered {call.path} with status {status}."
    if status in {_TEAPOT, _TOO_MANY}:
        return _TOO_MANY_REQUESTS, f"Too many requests. {says}"
    if status in {_FORBIDDEN, _ELSEWHERE}:
        return _OF_A_PLACE, f"{says} klinehub asks again in a few minutes."
    return (_DISCONNECTED, says) if call.method == "GET" else (_UNKNOWN, f"{says} {_IN_DOUBT}")


def _reply(status: int, code: int, message: str, wait: int | None = None) -> Reply:
    headers = {"Content-Type": _JSON} | ({} if wait is None else {"Retry-After": str(wait)})
    return Reply(status, headers, msgspec.json.encode({"code": code, "msg": message}))


def _seconds(ms: int) -> int:
    return max(1, -(-ms // 1000))
