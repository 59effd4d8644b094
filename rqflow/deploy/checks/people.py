"""What a doctor sees of people: who is an administrator because they can read what rqflow keeps, and whether the page lets in strangers."""

from __future__ import annotations

import grp
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from rqflow.actions.verdict import Verdict
from rqflow.broker.exposure import is_loopback
from rqflow.deploy.checks.finding import Finding
from rqflow.settings import Settings
from rqflow.store import users
from rqflow.store.engine import Connection, sqlite_file

_EVERYBODY = "every account of this machine"


def administrators(settings: Settings, database_url: str) -> Finding:
    """Name the accounts that can read the database, or the file with its URL and that of Redis: they are administrators, whatever their role."""
    files = _told_by(settings, database_url)
    found = sorted({reader for file in files for reader in _readers(file)}, key=lambda name: (name != _EVERYBODY, name))
    here = f"; here that is {', '.join(found)} ({', '.join(map(str, files))})" if found else "; no file of this machine tells it"
    detail = f"who can read the database, or the URL of Redis or of the database, is an administrator{here}"
    if _EVERYBODY in found:
        return Finding(check="administrators", verdict=Verdict.WARNING, detail=detail, remedy=f"chmod o-rwx {' '.join(map(str, files))}")
    return Finding(check="administrators", verdict=Verdict.OK, detail=detail)


def page(settings: Settings, connection: Connection) -> Finding:
    """See whether other machines reach a page for which nobody has to log in. Raises StoreError."""
    host, number = settings.webserver.host, users.count(connection, is_active=True)
    if not host or not is_loopback(host):
        where = f"webserver.host is {host or 'every address'}, which other machines reach"
        if not number:
            return Finding(check="page access", verdict=Verdict.PROBLEM, detail=f"{where}, and there is no user: nobody could be asked to log in",
                           remedy="rqflow user setup-link makes the first one; or listen on 127.0.0.1")
        return Finding(check="page access", verdict=Verdict.OK, detail=f"{where}; {_people(number)} may log in")
    return Finding(check="page access", verdict=Verdict.OK, detail=f"the page is for this machine alone ({host}); {_people(number)} may log in")


def _people(number: int) -> str:
    return f"{number or 'no'} user{'' if number == 1 else 's'}"


def _told_by(settings: Settings, database_url: str) -> list[Path]:
    """Return the files that tell: the configuration where a URL stands in it, and the database where it is a file."""
    has_url = any(settings.origins.get(name) == str(settings.file) for name in ("database.url", "redis.url"))
    told = [settings.file] if settings.file and has_url else []
    kept = sqlite_file(database_url)
    return [file for file in (*told, kept) if file and file.exists()]


def _readers(file: Path) -> Iterator[str]:
    """Give the accounts and groups that the modes of a file and of its folder let read it; root can always."""
    own, folder = file.stat(), file.parent.stat()
    mode, way = stat.S_IMODE(own.st_mode), stat.S_IMODE(folder.st_mode)
    yield _account(own.st_uid)
    if mode & stat.S_IRGRP and way & (stat.S_IXGRP | stat.S_IXOTH):
        yield f"the group {_group(own.st_gid)}"
    if mode & stat.S_IROTH and way & stat.S_IXOTH:
        yield _EVERYBODY


def _account(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # in a container, or while a directory service is away
        return f"uid {number}"


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return f"gid {number}"
