"""The OpenAPI 3.1 document of the own API, made of its routes and of the types of what it answers."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from klinehub.serve.answers import Failure
from klinehub.serve.routes import JSON, MEDIA, Route

_REF: Final = "#/components/schemas/{name}"
_EXAMPLE: Final = {
    "error": "UnknownName",
    "message": "Unknown symbol 'BTCUSD'. Did you mean 'BTCUSDT'?",
}
# What any question with parameters may be answered with; 404 is for names of symbols, screens and the like.
_REFUSALS: Final = {
    400: "A parameter is unknown, or its value can not be: the message says which, and what can be.",
    404: "Nothing has this name; the message offers the nearest one that exists.",
    503: "It can not be answered now: too much is asked for at once, or what it takes is out of reach.",
}

# What a change may be answered with besides.
_UNCHANGED: Final = {
    403: "The header that a change needs is not there, or the page that asks is not the hub's own.",
    413: "The body has more than 64 KiB.",
    415: "The body is not JSON.",
}
_HEADER: Final = {
    "name": "X-Klinehub",
    "in": "header",
    "required": True,
    "description": "says that no page from elsewhere asks",
    "schema": {"type": "string", "enum": ["1"]},
    "example": "1",
}


def document(
    routes: Iterable[Route], more: Mapping[str, Any], version: str, types: Iterable[Any] = ()
) -> dict[str, Any]:
    """Give the document of *routes*, of *more* paths that are written out, and of further *types*."""
    table = tuple(routes)
    bodies = [route.body for route in table if route.body is not None]
    wanted = [Failure, *types, *(one for route in table for one in route.schema), *bodies]
    refs, components = msgspec.json.schema_components(wanted, ref_template=_REF)
    schemas = dict(zip(map(repr, wanted), refs, strict=True))
    paths: dict[str, Any] = {}
    for route in table:
        for path, form in route.paths.items():
            paths.setdefault(path, {})[route.method.lower()] = _operation(route, path, form, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "klinehub",
            "version": version,
            "description": "Klines, scans and health of a running hub. Times are ms UTC of exchange time.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {**paths, **more},
        "components": {"schemas": components},
    }


def _operation(route: Route, path: str, form: str, schemas: Mapping[str, Any]) -> dict[str, Any]:
    content = {MEDIA[form]: {"schema": _schema(route, schemas) if form == "json" else {"type": "string"}}}
    parameters = parameters_of(route.query)
    refusals = {status: text for status, text in _REFUSALS.items() if parameters or route.body}
    refusals |= _UNCHANGED if route.body else {}
    responses = {
        "200": {"description": route.about, "content": content},
        **{str(status): refusal(text, status, plain=route.plain) for status, text in refusals.items()},
        **{
            str(status): (
                {"description": text, "content": content}
                if status == 503
                else refusal(text, status, plain=route.plain)
            )
            for status, text in route.statuses.items()
        },
    }
    name = path.strip("/").replace("/", "_").replace(".", "_")
    operation = {
        "operationId": name if route.body is None else f"{name}_post",
        "summary": route.about,
        "parameters": parameters,
        "responses": responses,
    }
    if route.body is None:
        return operation
    body = {"required": True, "content": {JSON: {"schema": schemas[repr(route.body)]}}}
    return {**operation, "parameters": [_HEADER], "requestBody": body}


def _schema(route: Route, schemas: Mapping[str, Any]) -> dict[str, Any]:
    found = [schemas[repr(one)] for one in route.schema]
    one = found[0] if len(found) == 1 else {"oneOf": found}
    return {"type": "array", "items": one} if route.rows else one


def parameters_of(query: type[msgspec.Struct]) -> list[dict[str, Any]]:
    """Give the parameters of a question, with the limits that its type has."""
    _, found = msgspec.json.schema_components([query], ref_template=_REF)
    schema = found[query.__name__]
    required = set(schema.get("required", ()))
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "description": one.get("description", ""),
            "schema": {key: value for key, value in one.items() if key not in {"description", "examples"}},
            **({"example": one["examples"][0]} if "examples" in one else {}),
        }
        for name, one in schema["properties"].items()
    ]


def refusal(text: str, status: int, *, plain: bool = False) -> dict[str, Any]:
    """Describe an answer that is none; a request line of more than 8 KiB is refused before it is read."""
    as_text = {"text/plain": {"schema": {"type": "string"}}}
    if plain:
        return {"description": text, "content": as_text}
    as_json = {JSON: {"schema": {"$ref": _REF.format(name=Failure.__name__)}, "example": _EXAMPLE}}
    return {"description": text, "content": {**as_json, **as_text} if status == 400 else as_json}
