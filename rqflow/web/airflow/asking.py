"""What requests share: pages, order, dates, masks, and how times are written."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, BeforeValidator

from rqflow import clock, wire
from rqflow.exceptions import NotFound, UsageError
from rqflow.store.run_pages import CHANGED_AT, ENDED_AT, LOGICAL_DATE, STARTED_AT, Between
from rqflow.values import is_text

#: Entries of a page when nobody says how many, and at most: who asks for more gets as many.
DEFAULT, MOST = 100, 100
#: Places after which nobody pages.
_LAST = 2**31 - 1
#: In place of a DAG's or a run's id: any.
ANY = "~"


class Answer(JSONResponse):
    """An answer in JSON, whatever characters people wrote."""

    def render(self, content: Any) -> bytes:
        """Return the bytes."""
        return wire.encode(content)


@dataclass(frozen=True, slots=True)
class Part:
    """Which entries of a list, and in which order."""

    limit: int
    offset: int
    order_by: str | None = None

    def of(self, found: Sequence[Any]) -> list[Any]:
        """Return these entries of all."""
        return list(found[self.offset:self.offset + self.limit])

    def order(self, allowed: Collection[str], default: str) -> tuple[str, bool]:
        """Return by what it is ordered, and whether from the last to the first; raises UsageError for what it cannot be ordered by."""
        name = (self.order_by or default).strip()
        plain = name.removeprefix("-")
        if plain not in allowed:
            raise UsageError(f"Ordering with '{plain[:100]}' is disallowed or the attribute does not exist on the model")
        return plain, name.startswith("-")


def part(limit: int, offset: int, order_by: str | None = None) -> Part:
    """Return which entries are meant; raises UsageError for numbers below 0."""
    if limit < 0 or offset < 0:
        raise UsageError("limit and offset must be 0 or more")
    return Part(min(limit or DEFAULT, MOST), min(offset, _LAST), order_by)


def _part_of(limit: Annotated[int, Query()] = DEFAULT, offset: Annotated[int, Query()] = 0, order_by: Annotated[str | None, Query()] = None) -> Part:
    return part(limit, offset, order_by)


ThePart = Annotated[Part, Depends(_part_of)]


def _with_plus(text: Any) -> Any:
    """Return a time as it was meant by somebody who wrote + into an address, which means a blank there."""
    return re.sub(r" (?=\d\d:?\d\d$)", "+", text.strip()) if isinstance(text, str) else text


When = Annotated[datetime | None, BeforeValidator(_with_plus), Query()]


def between(since: datetime | None, until: datetime | None) -> Between:
    """Return the moments from one to another; those without a zone are in UTC."""
    return Between(since=clock.aware(since) if since else None, until=clock.aware(until) if until else None)


async def texts_only(request: Request) -> None:
    """Refuse a request in whose address is what no database takes as text. Raises NotFound for its path, UsageError for the rest."""
    if not all(is_text(str(value)) for value in request.path_params.values()):
        raise NotFound("there is nothing of that name")
    if not all(is_text(name) and is_text(value) for name, value in request.query_params.multi_items()):
        raise UsageError("the address has characters in it that are no text")


def _moments_of(execution_date_gte: When = None, execution_date_lte: When = None, start_date_gte: When = None, start_date_lte: When = None,
                end_date_gte: When = None, end_date_lte: When = None, updated_at_gte: When = None,
                updated_at_lte: When = None) -> dict[str, Between]:
    return moments({LOGICAL_DATE: (execution_date_gte, execution_date_lte), STARTED_AT: (start_date_gte, start_date_lte),
                    ENDED_AT: (end_date_gte, end_date_lte), CHANGED_AT: (updated_at_gte, updated_at_lte)})


def moments(given: Mapping[str, tuple[datetime | None, datetime | None]]) -> dict[str, Between]:
    """Return which moments of a run lie between which; those of which nothing was said are left out."""
    return {name: between(since, until) for name, (since, until) in given.items() if since or until}


Moments = Annotated[dict[str, Between], Depends(_moments_of)]


def words(given: Iterable[str] | None) -> list[str]:
    """Return the words of a parameter that has them separated by commas, or is there several times."""
    return [word.strip() for one in given or () for word in one.split(",") if word.strip()]


def masked(body: BaseModel, mask: Sequence[str], allowed: Collection[str]) -> dict[str, Any]:
    """Return the fields that a request changes: all that it brings, or those of these that its `update_mask` names.

    Raises UsageError for a name that is not `allowed`, or that the body does not have.
    """
    given = body.model_dump(by_alias=True, exclude_unset=True)
    if not mask:
        return given
    for name in mask:
        if name not in allowed or name not in given:
            raise UsageError(f"'{name[:100]}' is unknown or cannot be updated")
    return {name: given[name] for name in mask}


def only(answer: BaseModel, fields: Sequence[str]) -> Answer:
    """Return an answer with these fields alone, all where none is named; raises UsageError for one that it does not have."""
    return Answer(chosen(answer.model_dump(mode="json"), fields))


def chosen(plain: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    """Return these fields of an answer, all where none is named; raises UsageError for one that it does not have."""
    for name in fields:
        if name not in plain:
            raise UsageError(f"there is no field '{name[:100]}'")
    return {name: plain[name] for name in fields} if fields else dict(plain)


def span(seconds: float | None) -> dict[str, Any] | None:
    """Return a length of time as Airflow writes it; None: none."""
    if seconds is None:
        return None
    whole, rest = divmod(round(seconds * 1_000_000), 1_000_000)
    return {"__type": "TimeDelta", "days": whole // 86400, "seconds": whole % 86400, "microseconds": rest}
