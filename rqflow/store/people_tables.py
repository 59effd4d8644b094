"""Tables of people: who may use the page and the API, how they are logged in, and which DAGs are theirs."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, Table, UniqueConstraint

from rqflow.store.conventions import OPTIONS, SHA, STATE, about, metadata
from rqflow.store.types import Id, LongText, UtcDateTime

user = Table(
    "user", metadata,
    Column("username", Id(), primary_key=True, doc="Login name."),
    Column("full_name", LongText(), nullable=False, doc="Name as people say it."),
    Column("password_hash", LongText(), nullable=False, doc="argon2 hash; empty: may not log in with a password."),
    Column("role", Id(STATE), nullable=False, doc="viewer, operator or admin."),
    Column("email", LongText(), nullable=False, doc="Address for notices."),
    Column("source", Id(STATE), nullable=False, doc="Who vouches for them: password, proxy or oidc."),
    Column("is_active", Boolean(), nullable=False, doc="False: may not log in."),
    Column("created_at", UtcDateTime(), nullable=False, doc="When it was added."),
    Column("last_login_at", UtcDateTime(), doc="Last login; NULL: none was."),
    Column("disabled_at", UtcDateTime(), doc="When it was disabled; NULL: it is not."),
    info=about("People who may use the page and the API.", "user commands, the page; a first login through a proxy or OIDC"), **OPTIONS,
)

session = Table(
    "session", metadata,
    Column("digest", Id(SHA), primary_key=True, doc="sha256 of the random id that the browser has."),
    Column("username", Id(), ForeignKey(user.c.username, ondelete="CASCADE"), nullable=False, doc="Who is logged in."),
    Column("created_at", UtcDateTime(), nullable=False, doc="Login."),
    Column("seen_at", UtcDateTime(), nullable=False, doc="Last request, to a minute."),
    Column("expires_at", UtcDateTime(), nullable=False, doc="When it ends unless there is another request; as long after seen_at as it lasts."),
    Column("ip", Id(), nullable=False, doc="Address of the login."),
    Column("agent", LongText(), nullable=False, doc="What the browser calls itself."),
    Index(None, "username"), Index(None, "expires_at"),
    info=about("Browsers that are logged in.", "login and logout; user disable, delete and passwd"), **OPTIONS,
)

api_token = Table(
    "api_token", metadata,
    Column("id", Integer(), primary_key=True, doc="From 1."),
    Column("digest", Id(SHA), nullable=False, doc="sha256 of the token, which is shown once."),
    Column("username", Id(), ForeignKey(user.c.username, ondelete="CASCADE"), nullable=False, doc="Whose it is."),
    Column("name", Id(), nullable=False, doc="What it is for."),
    Column("role", Id(STATE), nullable=False, doc="Most that it may do; never more than its person may."),
    Column("created_at", UtcDateTime(), nullable=False, doc="When it was made."),
    Column("expires_at", UtcDateTime(), doc="When it ends; NULL: never."),
    Column("last_used_at", UtcDateTime(), doc="Last use, to a minute; NULL: none was."),
    Column("revoked_at", UtcDateTime(), doc="When it was revoked; NULL: it was not."),
    UniqueConstraint("digest"), Index(None, "username"),
    info=about("Tokens for programs.", "token commands, the page"), **OPTIONS,
)

setup_link = Table(
    "setup_link", metadata,
    Column("digest", Id(SHA), primary_key=True, doc="sha256 of the secret in the link."),
    Column("username", Id(), doc="Who may set a password with it; NULL: whoever opens it chooses a name."),
    Column("role", Id(STATE), nullable=False, doc="Role of one who is new."),
    Column("who", Id(), nullable=False, doc="Person who made it."),
    Column("created_at", UtcDateTime(), nullable=False, doc="When it was made."),
    Column("expires_at", UtcDateTime(), nullable=False, doc="When it ends."),
    Column("used_at", UtcDateTime(), doc="When it was used; NULL: it was not."),
    Index(None, "expires_at"),
    info=about("Links that let a person set a password once.", "user setup-link, the page"), **OPTIONS,
)

dag_share = Table(
    "dag_share", metadata,
    Column("dag_id", Id(), primary_key=True, doc="The DAG."),
    Column("username", Id(), primary_key=True, doc="Who may work with it as with one of their own; * for everyone."),
    Column("who", Id(), nullable=False, doc="Person who shared it."),
    Column("shared_at", UtcDateTime(), nullable=False, doc="When that was."),
    Index(None, "username"),
    info=about("DAGs that were shared.", "dag share and unshare, the page"), **OPTIONS,
)

owner_map = Table(
    "owner_map", metadata,
    Column("owner", Id(), primary_key=True, doc="Owner as authors write it into DAG files."),
    Column("username", Id(), primary_key=True, doc="Who that is; one owner may be several people."),
    Column("who", Id(), nullable=False, doc="Person who said so."),
    Column("mapped_at", UtcDateTime(), nullable=False, doc="When that was."),
    Index(None, "username"),
    info=about("Which people the owners of DAG files are.", "user owner, the page"), **OPTIONS,
)
