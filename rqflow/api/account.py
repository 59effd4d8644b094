"""Operations of a person on themselves."""

from __future__ import annotations

from dataclasses import dataclass

from rqflow.actions.people import users
from rqflow.api.hub import Hub
from rqflow.api.operation import Nothing, about, operation
from rqflow.api.sessions import digest_of
from rqflow.api.users import SessionsEnded
from rqflow.security.roles import Role
from rqflow.store.users import UserRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """Who asks, and the role in which they do, which that of a token may lower."""

    user: UserRecord
    role: Role


@operation("account.get", "GET", "/account", Role.VIEWER)
def get_account(hub: Hub, _: Nothing) -> Account:
    """Show who you are."""
    return Account(user=users.get(hub.engine, hub.person.name), role=hub.person.role)


@dataclass(frozen=True, kw_only=True, slots=True)
class EditAccount:
    """What is to be changed; what is not given stays."""

    full_name: str | None = about("Your name as people say it.", None)
    email: str | None = about("Your mail address; empty: none.", None)


@operation("account.edit", "PATCH", "/account", Role.VIEWER)
def edit_account(hub: Hub, asked: EditAccount) -> UserRecord:
    """Change your name or mail address."""
    return users.edit(hub.engine, hub.person.name, by=hub.person.name, full_name=asked.full_name, email=asked.email)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangePassword:
    """Another password of yours."""

    current: str = about("The one that you have.")
    password: str = about("The new one.")
    keep: str | None = about("The name of a session that goes on; the others end.", None)


@operation("account.password", "PUT", "/account/password", Role.VIEWER)
def change_password(hub: Hub, asked: ChangePassword) -> SessionsEnded:
    """Change your password, and end your other sessions."""
    ended = users.change_own_password(hub.engine, hub.person.name, asked.current, asked.password, keep=digest_of(hub, asked.keep))
    return SessionsEnded(username=hub.person.name, sessions_ended=ended)
