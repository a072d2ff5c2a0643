"""Events: closes and scans as they happen, as server-sent events.

A client that takes its events too slowly is told `resync` and ended: what it has missed it reads from the
API, and connects again. A line is sent now and then even when nothing happens, so that whoever is gone is
noticed.
"""

import asyncio
from contextlib import suppress
from typing import Any, Final

from aiohttp import web

from klinehub.errors import DefinitionError, KlinehubError
from klinehub.serve import queries
from klinehub.serve.guard import Caller
from klinehub.serve.openapi import parameters_of, refusal
from klinehub.serve.routes import NOT_KEPT, NotAnswered, given, only_reads, parsed, refused
from klinehub.serve.signals import MOST_LISTENERS, Event, Listener, Signals

EVENTS: Final = "/api/v1/events"
MOST_SCREENS: Final = 16
# Real seconds between two lines, and for a client to take one.
HEARTBEAT: Final = 15.0
SLOWEST: Final = 30.0
EVENTS_DOCUMENT: Final[dict[str, Any]] = {
    "get": {
        "operationId": "api_v1_events",
        "summary": "Closes and scans as they happen, until the client leaves or is too slow.",
        "description": (
            "Server-sent events: `close` (see the schema Close), `alert` (AlertRow), `scan` (NamedScan) of "
            "each screen that was named, first as it stands; `failed` (Failure) for a screen that is given "
            "up; `resync` for a client that is too slow, as the last event. Ids grow; what was missed is not "
            "sent again."
        ),
        "parameters": parameters_of(queries.EventsQuery),
        "responses": {
            "200": {
                "description": "The events.",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            },
            "400": refusal("A parameter is unknown, or its value can not be.", 400),
            "404": refusal("No screen has this name.", 404),
            "503": refusal("Too many listen already, or nothing is passed on yet.", 503),
        },
    }
}
_HEADERS: Final = {**NOT_KEPT, "Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}


class Events:
    """Streams what *signals* passes on."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals

    async def answer(self, request: web.BaseRequest, caller: Caller) -> web.StreamResponse:
        """Stream events to one client until it leaves, is too slow, or the hub ends."""
        try:
            if caller.path != EVENTS:
                raise NotAnswered(
                    404, "UnknownName", f"There is nothing at {caller.path!r}: events are at {EVENTS}."
                )
            only_reads(request)
            query = parsed(queries.EventsQuery, request.query)
            return await self._stream(request, query, _names(given(query.screens)))
        except KlinehubError as exc:
            return refused(exc)

    async def _stream(
        self, request: web.BaseRequest, query: queries.EventsQuery, screens: list[str]
    ) -> web.StreamResponse:
        signals = self._signals
        if signals.listeners >= MOST_LISTENERS:
            raise NotAnswered(503, "Busy", f"{MOST_LISTENERS} clients listen already: close one of them.")
        wanted = {"closes": query.closes == "yes", "alerts": query.alerts == "yes"}
        async with signals.listening(screens, **wanted) as listener:
            response = web.StreamResponse(headers=_HEADERS)
            await response.prepare(request)
            if request.method == "GET":
                # A client that leaves, or takes nothing any more, ends its own stream alone.
                with suppress(ConnectionError, TimeoutError):
                    await _send_all(response, listener)
        return response


def _names(text: str | None) -> list[str]:
    names = list(dict.fromkeys(part.strip() for part in (text or "").split(",") if part.strip()))
    if len(names) > MOST_SCREENS:
        raise DefinitionError(f"{len(names)} screens are too many: name at most {MOST_SCREENS}.")
    return names


async def _send_all(response: web.StreamResponse, listener: Listener) -> None:
    """Send events as they come."""
    await _send(response, b": klinehub\n\n")
    while True:
        try:
            event = await asyncio.wait_for(listener.queue.get(), HEARTBEAT)
        except TimeoutError:
            await _send(response, b":\n\n")
            continue
        if event is None:
            if listener.cut:
                await _send(response, b"event: resync\ndata: {}\n\n")
            return
        await _send(response, written(event))


async def _send(response: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(SLOWEST):
        await response.write(data)


def written(event: Event) -> bytes:
    """Write an event as it is sent: JSON has no line breaks of its own."""
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (event.id, event.kind.encode(), event.data)
