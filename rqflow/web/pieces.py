"""Pieces of pages that many tabs ask for at the same time are made once.

A tab that was told of a change asks for its piece with the id of the event that it was told of (`Rqflow-Upto`). A piece that was made after that
event was known here shows it, whoever asked for it; so it may answer all who ask for the same, with an id that is no newer, in the next seconds. By
itself a piece is its person's; pages say of which pieces the content depends on the role alone, or on nobody (`rendering.share`). Whatever somebody
changes by a request forgets all pieces, before and after; and a request without an id is never answered by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from starlette.requests import Request

from rqflow import clock
from rqflow.security import bearer
from rqflow.security.roles import Person
from rqflow.settings import Webserver
from rqflow.web import signin
from rqflow.web.guard import SAFE
from rqflow.web.logged_in import LoggedIn
from rqflow.web.news import NOTHING, SLOWEST, EventId, Newsroom, order, upto_of
from rqflow.web.rendering import BY_ALL, BY_NOBODY, BY_ROLE

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Seconds for which a piece may answer, and bytes of all that are kept.
LASTS, ROOM = SLOWEST, 8 << 20
#: Pieces that are made at the same time, as they take turns on one processor anyway, and seconds after which one is made out of turn.
AT_ONCE, PATIENCE = 2, 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """An answer, as it was sent."""

    upto: EventId
    made_at: float
    #: For the metrics: the route that made it.
    route: Any
    start: Message
    body: bytes


@dataclass(eq=False, slots=True)
class Pieces:
    """The pieces that were made last. Used in the event loop alone."""

    newsroom: Newsroom
    logged_in: LoggedIn
    webserver: Webserver
    kept: dict[Hashable, Piece] = field(default_factory=dict)
    #: What is being made now, by key; set when it is done.
    making: dict[Hashable, asyncio.Event] = field(default_factory=dict)
    #: How often all was forgotten.
    era: int = 0
    used: int = 0
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    def find(self, key: Hashable, upto: EventId) -> Piece | None:
        """Return a piece that shows all up to this event."""
        piece = self.kept.get(key)
        return piece if piece and piece.upto >= upto and clock.monotonic() - piece.made_at <= LASTS else None

    def keep(self, key: Hashable, piece: Piece) -> None:
        """Keep a piece, and let go of those that are too old or too many."""
        self._drop(key)
        self.kept[key] = piece
        self.used += len(piece.body)
        for other, old in list(self.kept.items()):
            if self.used <= ROOM and clock.monotonic() - old.made_at <= LASTS:
                break
            self._drop(other)

    def forget(self) -> None:
        """Let go of all, also of what is being made."""
        self.kept.clear()
        self.used, self.era = 0, self.era + 1

    def _drop(self, key: Hashable) -> None:
        if old := self.kept.pop(key, None):
            self.used -= len(old.body)


class SharedPieces:
    """ASGI middleware: answers with a piece that was made for somebody else who may see the same."""

    def __init__(self, app: ASGIApp, pieces: Pieces) -> None:
        """Stand before `app`."""
        self._app, self._pieces = app, pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a piece, or hand a request on."""
        if scope["type"] != "http" or scope["method"] in SAFE - {"GET"}:
            await self._app(scope, receive, send)
        elif scope["method"] != "GET":
            self._pieces.forget()
            try:
                await self._app(scope, receive, send)
            finally:
                self._pieces.forget()
        else:
            headers = Headers(scope=scope)
            upto = upto_of(headers)
            person = await self._person(scope, headers) if upto > NOTHING and headers.get("hx-request") == "true" else None
            if person is None:
                await self._app(scope, receive, send)
            else:
                await self._answer(_Asked(scope, headers, person, upto, sees_all=self._sees_all(person)), receive, send)

    async def _person(self, scope: Scope, headers: Headers) -> Person | None:
        """Return whose session a request brings; None: it has to be found out by the way that it takes otherwise."""
        if "authorization" in headers or self._pieces.webserver.user_header:
            return None
        secret = signin.secret_of(Request(scope))
        return await self._pieces.logged_in.person(bearer.digest(secret)) if secret else None

    def _sees_all(self, person: Person) -> bool:
        return person.is_admin or not self._pieces.webserver.filter_by_owner

    async def _answer(self, asked: _Asked, receive: Receive, send: Send) -> None:
        """Answer with what there is, or with what is being made for others; what is only for fewer of them than was hoped is made again."""
        for key in asked.keys.values():
            piece = self._pieces.find(key, asked.upto)
            if piece is None and (making := self._pieces.making.get(key)):
                await making.wait()
                piece = self._pieces.find(key, asked.upto)
            if piece:
                asked.scope["route"] = piece.route
                await send(piece.start)
                await send({"type": "http.response.body", "body": piece.body})
                return
        await self._make(asked, receive, send)

    async def _make(self, asked: _Asked, receive: Receive, send: Send) -> None:
        """Hand a request on when it is its turn, and keep the answer."""
        pieces, done = self._pieces, asyncio.Event()
        # What nobody makes yet: others wait for that, and see then by whom it is shared.
        mine = [key for key in asked.keys.values() if key not in pieces.making]
        pieces.making |= dict.fromkeys(mine, done)
        has_turn = False
        try:
            try:
                async with asyncio.timeout(PATIENCE):
                    has_turn = await pieces.turns.acquire()
            except TimeoutError:
                pass  # those before it hang: one more may, too
            await self._made(asked, receive, send)
        finally:
            if has_turn:
                pieces.turns.release()
            for key in mine:
                del pieces.making[key]
            done.set()

    async def _made(self, asked: _Asked, receive: Receive, send: Send) -> None:
        upto, era, at = order(self._pieces.newsroom.upto), self._pieces.era, clock.monotonic()
        sent: list[Message] = []

        async def heard(message: Message) -> None:
            sent.append(message)
            await send(message)

        asked.scope.setdefault("state", {})["person"] = asked.person
        await self._app(asked.scope, receive, heard)
        if era != self._pieces.era or len(sent) < 2 or sent[0]["status"] != 200 or "set-cookie" in Headers(raw=sent[0]["headers"]):
            return
        state = asked.scope.get("state", {})
        key = asked.keys.get(state.get("shared_by", BY_NOBODY), asked.keys[BY_NOBODY])
        self._pieces.keep(key, Piece(upto=upto, made_at=at, route=asked.scope.get("route"), start=sent[0],
                                     body=b"".join(message.get("body", b"") for message in sent[1:])))


class _Asked:
    """A request that a piece may answer."""

    def __init__(self, scope: Scope, headers: Headers, person: Person, upto: EventId, *, sees_all: bool) -> None:
        self.scope, self.person, self.upto = scope, person, upto
        # All that an answer depends on besides the person: htmx' target chooses the piece.
        what = (scope["path"], scope["query_string"], headers.get("hx-target"), headers.get("host"), "gzip" in headers.get("accept-encoding", ""))
        #: {by whom it may be shared: under which key it is kept then}, those of the most people first.
        self.keys: dict[str, Hashable] = {BY_ALL: (what, BY_ALL), BY_ROLE: (what, person.role)} if sees_all else {}
        self.keys[BY_NOBODY] = (what, person.role, person.name)
