"""JSON that a person brings along, as a file or pasted into a form."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.datastructures import UploadFile

from rqflow.exceptions import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class Brought:
    """What was brought: its text, and the name of the file; empty when it was pasted."""

    text: str
    name: str = ""

    def json_object(self, what: str) -> dict[str, Any]:
        """Return the JSON object that tells `what`. Raises UsageError, which shows nothing of the text: it may hold secrets."""
        called = self.name or "what was pasted"
        if not self.text.strip():
            raise UsageError("nothing was given", hint="Choose a file, or paste its text.")
        try:
            plain = json.loads(self.text, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            said = f"{error.msg}, line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "it holds what JSON does not have"
            raise UsageError(f"{called} is no JSON: {said}") from None
        if not isinstance(plain, dict):
            raise UsageError(f"{called} must hold one JSON object, {{name: …}}, of {what}")
        return plain


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no value of JSON")


async def brought_of(request: Request) -> Brought:
    """Return what a form brings: its field `file`, else its field `text`. Raises UsageError for a file that is no text."""
    async with request.form(max_files=1, max_fields=20) as form:
        file = form.get("file")
        if isinstance(file, UploadFile) and file.filename:
            try:
                return Brought(text=(await file.read()).decode("utf-8-sig"), name=file.filename[-100:])
            except UnicodeDecodeError as error:
                raise UsageError(f"{file.filename[-100:]} is no text in UTF-8") from error
        text = form.get("text")
        return Brought(text=text if isinstance(text, str) else "")


Uploaded = Annotated[Brought, Depends(brought_of)]
