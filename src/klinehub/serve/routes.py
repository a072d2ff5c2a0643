"""Routes: what the own API can be asked, in one table that dispatch, checks and its document are made of."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from aiohttp import web
from msgspec import UNSET
from multidict import MultiMapping

from klinehub.errors import DefinitionError, FeedError, KlinehubError, StoreError, UnknownName
from klinehub.serve.answers import Failure

JSON: Final = "application/json"
NOT_KEPT: Final = {"Cache-Control": "no-store"}
MEDIA: Final = {"json": JSON, "csv": "text/csv", "arrow": "application/vnd.apache.arrow.stream"}


Work = Callable[[Any, Any], Awaitable[Any]]
Write = Callable[[Any], bytes]


class NotAnswered(KlinehubError):
    """A question that is not answered, with the status that says so and a word for what it is."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        self.status, self.kind = status, kind
        super().__init__(message)


class Replied(NamedTuple):
    """An answer whose status is not 200, or that has headers of its own."""

    value: Any
    status: int = 200
    headers: Mapping[str, str] = {}


class Route(NamedTuple):
    """A question: its path, what it is, its parameters, what works it out, and in which forms it is given.

    One with a *body* changes something, and is asked by POST with what the body says in place of parameters.
    The first form is given at the path itself, each of them at the path with its name as suffix. *schema* are
    the types that JSON can have, several for one of them; *rows* says that it is a list of them. *statuses*
    says when it is answered otherwise; with *plain* refusals are plain text.
    """

    path: str
    about: str
    query: type[msgspec.Struct]
    work: Work
    schema: tuple[Any, ...]
    forms: Mapping[str, Write] = {"json": msgspec.json.encode}
    rows: bool = False
    statuses: Mapping[int, str] = {}
    plain: bool = False
    body: type[msgspec.Struct] | None = None

    @property
    def method(self) -> str:
        """By which method it is asked; HEAD too where that is GET."""
        return "GET" if self.body is None else "POST"

    @property
    def paths(self) -> dict[str, str]:
        """Give the form of each path; a document has none but its own."""
        first = next(iter(self.forms))
        if len(self.forms) == 1:
            return {self.path: first}
        return {self.path: first, **{f"{self.path}.{form}": form for form in self.forms}}


def parsed(query: type[msgspec.Struct], given: MultiMapping[str]) -> Any:  # noqa: ANN401 - of this type
    """Read parameters; raises NotAnswered for one that is unknown, given twice or out of its limits."""
    known = query.__struct_fields__
    for name in given:
        if name not in known:
            raise NotAnswered(400, "UnknownName", str(UnknownName("parameter", name, known)))
        if len(given.getall(name)) > 1:
            raise NotAnswered(400, "DefinitionError", f"{name!r} is given twice: give it once.")
    try:
        return msgspec.convert(dict(given), query, strict=False)
    except msgspec.ValidationError as exc:
        said, _, at = str(exc).partition(" - at `$.")
        where = f"`{at.rstrip('`')}`: " if at else ""
        text = f"{where}{said}. See /api/v1/openapi.json for what can be asked."
        raise NotAnswered(400, "DefinitionError", text) from exc


def given(value: Any) -> Any:  # noqa: ANN401 - whatever a parameter is
    """Give a parameter's value, None where it was not given."""
    return None if value is UNSET else value


async def told(body: type[msgspec.Struct], request: web.BaseRequest) -> Any:  # noqa: ANN401 - of this type
    """Read what is to be changed; raises NotAnswered for a body that does not say it."""
    try:
        return msgspec.json.decode(await request.read(), type=body)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        text = f"The body does not fit ({exc}): see /api/v1/openapi.json for what it has to say."
        raise NotAnswered(400, "DefinitionError", text) from exc


def only_reads(request: web.BaseRequest) -> None:
    """Refuse everything that is not a question."""
    only("GET", request)


def only(method: str, request: web.BaseRequest) -> None:
    """Refuse every other method than this one; HEAD is a GET without the answer."""
    if request.method != method and (method, request.method) != ("GET", "HEAD"):
        raise MethodNotAllowed(request.method, (method,))


class MethodNotAllowed(NotAnswered):
    """A method that does nothing at a path, and those that do."""

    def __init__(self, method: str, allowed: Iterable[str]) -> None:
        some = sorted(allowed)
        self.allow = ", ".join(name for one in some for name in (("GET", "HEAD") if one == "GET" else (one,)))
        told = f"{method} does nothing here: use {' or '.join(some)}."
        super().__init__(405, "MethodNotAllowed", told)


def refused(error: KlinehubError, *, plain: bool = False) -> web.Response:
    """Say why a question is not answered, as JSON or as *plain* text."""
    status = _status_of(error)
    headers = dict(NOT_KEPT)
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = error.allow
    if status == 503:
        headers["Retry-After"] = "1"
    # What somebody sent may hold characters that no text has.
    message = str(error).encode("utf-8", "replace").decode()
    if plain:
        return web.Response(status=status, text=message, headers=headers)
    kind = error.kind if isinstance(error, NotAnswered) else type(error).__name__
    body = msgspec.json.encode(Failure(kind, message))
    return web.Response(status=status, body=body, headers=headers, content_type=JSON)


def _status_of(error: KlinehubError) -> int:
    """Give the status that says what became of a question."""
    if isinstance(error, NotAnswered):
        return error.status
    if isinstance(error, UnknownName):
        return 404
    if isinstance(error, DefinitionError):
        return 400
    return 503 if isinstance(error, FeedError | StoreError) else 500
