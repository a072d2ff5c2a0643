"""Changes: the few requests that change something of a hub, and what they have to show before they do."""

from typing import Final

from aiohttp import web

from klinehub.serve.routes import JSON, NotAnswered, refused

RULES: Final = "/api/v1/rules"
DELETE: Final = "/api/v1/rules/delete"
TEST: Final = "/api/v1/rules/test"
# Nothing else of a hub's own is asked by POST.
PATHS: Final = frozenset({RULES, DELETE, TEST})
# A page from elsewhere can not send it without asking first, and nobody who asks is let.
HEADER: Final = "X-Klinehub"


def refusal(request: web.BaseRequest) -> web.Response | None:
    """Give the answer to a change that no form and no page from elsewhere must be able to make."""
    if request.headers.getall(HEADER, []) != ["1"]:
        text = f"A change needs the header {HEADER}: 1, so that no page from elsewhere can make it."
        return refused(NotAnswered(403, "Forbidden", text))
    if request.content_type != JSON:
        return refused(NotAnswered(415, "UnsupportedMediaType", f"A change is told as {JSON}."))
    return None
