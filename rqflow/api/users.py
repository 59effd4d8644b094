"""Operations on the people who may use the page and the API."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime

from rqflow.actions.people import setup, users
from rqflow.actions.people.users import Departure, Source
from rqflow.api.hub import Hub
from rqflow.api.operation import Nothing, Page, about, operation
from rqflow.deploy import page
from rqflow.security.roles import Role
from rqflow.store.users import UserRecord


@operation("users.list", "GET", "/users", Role.ADMIN)
def list_users(hub: Hub, _: Nothing) -> Page[UserRecord]:
    """List the people by name."""
    return Page(items=tuple(users.list_all(hub.engine)))


@dataclass(frozen=True, kw_only=True, slots=True)
class OneUser:
    """Which person."""

    username: str = about("Their user name.")


@dataclass(frozen=True, kw_only=True, slots=True)
class User(UserRecord):
    """A person, with their DAGs of which runs start by schedule: those that pause when nobody takes them over."""

    scheduled: tuple[str, ...] = ()


@operation("users.get", "GET", "/users/{username}", Role.ADMIN)
def get_user(hub: Hub, asked: OneUser) -> User:
    """Show a person with their scheduled DAGs."""
    found = users.get(hub.engine, asked.username)
    known = {field.name: getattr(found, field.name) for field in fields(UserRecord)}
    return User(**known, scheduled=tuple(users.scheduled_dags(hub.engine, found.username)))


@dataclass(frozen=True, kw_only=True, slots=True)
class AddUser(OneUser):
    """Somebody new."""

    role: Role = about("What they may.", Role.VIEWER)
    full_name: str = about("Name as people say it.", "")
    email: str = about("Mail address.", "")
    password: str | None = about("Not given: they choose one by a set-up link, or come through a proxy.", None)


@operation("users.add", "POST", "/users", Role.ADMIN)
def add_user(hub: Hub, asked: AddUser) -> UserRecord:
    """Add a person."""
    return users.add(hub.engine, asked.username, role=asked.role, by=hub.person.name, password=asked.password, full_name=asked.full_name,
                     email=asked.email)


@dataclass(frozen=True, kw_only=True, slots=True)
class EditUser(OneUser):
    """What is to be changed of a person; what is not given stays."""

    role: Role | None = about("What they may.", None)
    source: Source | None = about("Who vouches for them.", None)
    full_name: str | None = about("Name as people say it.", None)
    email: str | None = about("Mail address; empty: none.", None)


@operation("users.edit", "PATCH", "/users/{username}", Role.ADMIN)
def edit_user(hub: Hub, asked: EditUser) -> UserRecord:
    """Change a person's role, who vouches for them, name or mail address. It holds from their next request on."""
    return users.edit(hub.engine, asked.username, by=hub.person.name, role=asked.role, source=asked.source, full_name=asked.full_name,
                      email=asked.email)


@dataclass(frozen=True, kw_only=True, slots=True)
class SetPassword(OneUser):
    """Another password of a person."""

    password: str = about("The new one.")


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionsEnded:
    """Whose sessions ended, and how many."""

    username: str
    sessions_ended: int


@operation("users.password", "PUT", "/users/{username}/password", Role.ADMIN)
def set_password(hub: Hub, asked: SetPassword) -> SessionsEnded:
    """Give a person another password, and end their sessions."""
    ended = users.set_password(hub.engine, asked.username, asked.password, by=hub.person.name)
    return SessionsEnded(username=asked.username, sessions_ended=ended)


@dataclass(frozen=True, kw_only=True, slots=True)
class Leave(OneUser):
    """Who gets the DAGs of somebody who is let in no more."""

    hand_over: str | None = about("This person gets their DAGs, and they go on; not given: the scheduled ones are paused.", None)


@operation("users.disable", "POST", "/users/{username}/disable", Role.ADMIN)
def disable_user(hub: Hub, asked: Leave) -> Departure:
    """Let a person in no more: end their sessions, revoke their tokens, pause their scheduled DAGs or hand them over."""
    return users.disable(hub.engine, asked.username, by=hub.person.name, heir=asked.hand_over)


@operation("users.enable", "POST", "/users/{username}/enable", Role.ADMIN)
def enable_user(hub: Hub, asked: OneUser) -> UserRecord:
    """Let a disabled person in again. Their tokens stay revoked, and their DAGs paused."""
    return users.enable(hub.engine, asked.username, by=hub.person.name)


@operation("users.delete", "DELETE", "/users/{username}", Role.ADMIN)
def delete_user(hub: Hub, asked: Leave) -> Departure:
    """Delete a person, with their sessions, tokens and shares. What they did stays in the audit log."""
    return users.delete(hub.engine, asked.username, by=hub.person.name, heir=asked.hand_over)


@dataclass(frozen=True, kw_only=True, slots=True)
class MakeLink:
    """Whom a set-up link is for."""

    username: str | None = about("Not given: who opens it first chooses a name.", None)
    role: Role | None = about("Of one who is new; admin when no user name is given, else viewer.", None)


@dataclass(frozen=True, kw_only=True, slots=True)
class SetupLink:
    """A link by which a person sets a password. It is shown this once."""

    #: Below the address of the page, and all of it as far as the hub knows that.
    path: str
    url: str
    username: str | None
    role: Role
    expires_at: datetime


@operation("users.setup_link", "POST", "/setup-links", Role.ADMIN)
def setup_link(hub: Hub, asked: MakeLink) -> SetupLink:
    """Make a link, good once and for an hour, by which a person sets a password."""
    made = setup.make(hub.engine, by=hub.person.name, username=asked.username, role=asked.role)
    return SetupLink(path=made.path, url=f"{page.url(hub.settings)}{made.path}", username=made.username, role=made.role, expires_at=made.expires_at)
