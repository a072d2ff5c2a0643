"""The site: all that a hub lends to other programs, at two ports of this machine.

1. The ports are taken before the hub starts, so that a port in use costs no warm-up; until `open` everybody
   is told to come again.
2. The files of the board's page are there from the start: it says itself that the hub warms up.
3. What is too large or too slow is cut off (limits.py), and the guard says who asks, and under which path.
4. The part with the longest prefix of that path answers. Beside the exchange's own paths only a few change
   anything (changes.py), so that elsewhere only GET and HEAD are answered.
Both ports answer everything: that there are two is for clients that want one for REST and one for streams.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Self

from aiohttp import web

from klinehub.errors import DefinitionError
from klinehub.serve import changes
from klinehub.serve.board.page import Page
from klinehub.serve.guard import Caller, Guard
from klinehub.serve.limits import Door, oversize
from klinehub.serve.readiness import warming
from klinehub.serve.routes import MethodNotAllowed, refused
from klinehub.settings import ServeSettings

# Answers one request of a caller.
Part = Callable[[web.BaseRequest, Caller], Awaitable[web.StreamResponse]]
SHUTDOWN_WITHIN: Final = 1.0
# Here a method is for the exchange to judge.
_OF_EXCHANGE: Final = ("/fapi/", "/futures/", "/api/v3/", "/sapi/", "/dapi/")


class Site:
    """Listens while the `async with` block runs, and serves what it was opened with.

    Raises DefinitionError where a port cannot be used, or where everybody would be let in.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self.rest_url = self.ws_url = ""
        self._settings = settings
        self._page = Page()
        self._guard = Guard(settings, self._page.paths)
        self._parts: list[tuple[str, Part]] = []
        self.door = Door(self._answer, settings.connections)
        self._runner = web.ServerRunner(self.door, shutdown_timeout=SHUTDOWN_WITHIN)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        try:
            rest = await self._listen(self._settings.port)
            streams = await self._listen(self._settings.ws_port)
        except BaseException:
            await self._runner.cleanup()
            raise
        self._guard.ports |= {rest, streams}
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        self.rest_url, self.ws_url = f"http://{host}:{rest}", f"ws://{host}:{streams}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def open(self, parts: Mapping[str, Part]) -> None:
        """Serve *parts* from now on, by the beginning of their paths."""
        self._parts = sorted(parts.items(), key=lambda part: -len(part[0]))

    async def _listen(self, port: int) -> int:
        """Listen at *port* and give the one that it became."""
        known = set(self._runner.addresses)
        host = self._settings.host
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            raise DefinitionError(
                f"Port {port} on {host} cannot be used ({error.strerror}): choose others with --port and "
                "--ws-port, or leave serving out with --no-serve."
            ) from error
        (address,) = set(self._runner.addresses) - known
        return int(address[1])

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        caller = self._guard.admit(request)
        return caller if isinstance(caller, web.Response) else await self._answer_to(request, caller)

    async def _answer_to(self, request: web.BaseRequest, caller: Caller) -> web.StreamResponse:
        """Answer somebody who was let in."""
        if not caller.path.startswith(_OF_EXCHANGE):
            refusal = _changing(request, caller.path)
            if refusal is not None:
                return refusal
        refusal = await oversize(request)
        if refusal is not None:
            return refusal
        if caller.path in self._page.paths:
            return self._page.answer(request, caller.path)
        if not self._parts:
            return warming(caller.path)
        for prefix, part in self._parts:
            if caller.path.startswith(prefix):
                return await part(request, caller)
        return web.Response(status=404, text="Not Found")


def _changing(request: web.BaseRequest, path: str) -> web.Response | None:
    """Give the answer to a request that would change something where nothing is changed, or by whom not."""
    if request.method == "POST" and path in changes.PATHS:
        return changes.refusal(request)
    if request.method in {"GET", "HEAD"}:
        return None
    allowed = ("GET", "POST") if path == changes.RULES else ("POST",) if path in changes.PATHS else ("GET",)
    return refused(MethodNotAllowed(request.method, allowed))
