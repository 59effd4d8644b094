"""The REST API: a route for each operation of rqflow/api, and the document that describes them (OpenAPI)."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from functools import cache
from types import NoneType
from typing import Annotated, Any, get_type_hints

from fastapi import APIRouter, Body, Path, Query, Response
from pydantic import BaseModel, ConfigDict, create_model
from pydantic import Field as ModelField

from rqflow import wire
from rqflow.actions.model import plain
from rqflow.api.operation import Nothing, Operation, perform
from rqflow.api.table import OPERATIONS
from rqflow.web.deps import TheHub

PREFIX = "/api/v1"
_PLACE = re.compile(r"\{(\w+)(?::path)?\}")


#: An error, as RFC 9457 has it, in the words of JSON Schema; `hint` says what to do, `exit_code` is that of the command line.
PROBLEM: dict[str, Any] = {
    "title": "Problem", "type": "object", "required": ["type", "title", "status", "detail"],
    "properties": {"type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"}, "detail": {"type": "string"},
                   "hint": {"type": "string", "default": ""}, "exit_code": {"type": "integer", "default": 1}}}
#: What may go wrong with any operation. Told by hand: a model for each would be most of the work of a start.
_ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"description": said, "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    for code, said in ((401, "Not logged in"), (403, "Not permitted"), (404, "Not found"), (409, "Conflict"), (422, "Bad input"),
                       (503, "Not reached"))}


@cache
def router() -> APIRouter:
    """Return the routes of all operations, the same for each application of this process."""
    made = APIRouter(prefix=PREFIX)
    for one in OPERATIONS:
        _add(made, one)
    return made


def _add(made: APIRouter, one: Operation[Any, Any]) -> None:
    returns_nothing = one.given in (None, NoneType, Nothing)
    made.add_api_route(
        one.path, _handler(one), methods=[one.method], name=one.name, operation_id=one.name, summary=one.summary, description=one.description,
        tags=[one.name.partition(".")[0]], response_model=None if returns_nothing else one.given, status_code=204 if returns_nothing else 200,
        responses=_ERRORS, openapi_extra={"x-role": one.role.value})


def _handler(one: Operation[Any, Any]) -> Callable[..., Response]:
    """Return a handler whose signature has the fields of the operation's input, for FastAPI to read."""
    parameters, body = _signature(one)

    def handle(hub: TheHub, **given: Any) -> Response:
        asked = given.pop("body", None)
        values = {**given, **({_outer(name): getattr(asked, name) for name in asked.model_fields_set} if asked is not None else {})}
        result = perform(hub, one, one.asked(**values))
        return answered(result)

    own = [inspect.Parameter("hub", inspect.Parameter.KEYWORD_ONLY, annotation=TheHub)]
    if body is not None:
        is_needed = any(field.is_required() for field in body.model_fields.values())
        parameters.append(inspect.Parameter("body", inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[body if is_needed else body | None, Body()],
                                            default=inspect.Parameter.empty if is_needed else None))
    handle.__signature__ = inspect.Signature([*own, *parameters])  # type: ignore[attr-defined]  # what FastAPI goes by
    handle.__name__ = one.name.replace(".", "_")
    return handle


def _signature(one: Operation[Any, Any]) -> tuple[list[inspect.Parameter], type[BaseModel] | None]:
    """Return the parameters of the path and the query, and the model of the body; None: it has none."""
    hints = get_type_hints(one.asked)
    in_path = set(_PLACE.findall(one.path))
    parameters, in_body = [], {}
    for field in fields(one.asked):
        kind, text = hints[field.name], field.metadata.get("about", "")
        if field.name in in_path:
            parameters.append(_parameter(field, Annotated[kind, Path(description=text)]))
        elif one.method in {"GET", "DELETE"}:
            parameters.append(_parameter(field, Annotated[kind, Query(description=text)]))
        else:
            in_body[_inner(field.name)] = (kind, ModelField(alias=field.name, description=text, **_default(field)))
    if not in_body:
        return parameters, None
    name = "".join(part.title() for part in one.name.split("."))
    return parameters, create_model(f"{name}Body", __config__=ConfigDict(extra="forbid"), **in_body)  # type: ignore[call-overload]  # names are data here


def _inner(name: str) -> str:
    """Return the name of a field in the model of a body, whose base class has some names for itself, such as schema."""
    return f"{name}_own" if hasattr(BaseModel, name) else name


def _outer(name: str) -> str:
    return name.removesuffix("_own")


def _default(field: Field[Any]) -> dict[str, Any]:
    if field.default is not MISSING:
        return {"default": field.default}
    return {"default_factory": field.default_factory} if field.default_factory is not MISSING else {}


def _parameter(field: Field[Any], annotation: Any) -> inspect.Parameter:
    default = _default(field)
    value = default["default"] if "default" in default else default["default_factory"]() if default else inspect.Parameter.empty
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=value)


def answered(result: Any) -> Response:
    """Return the answer that has a result as JSON; 204 for nothing."""
    if result is None or isinstance(result, Nothing):
        return Response(status_code=204)
    return Response(wire.encode(plain(result)), media_type="application/json")
