"""What each person's signature may be good for: DAGs, queues, and the accounts under which a worker of root runs tasks.

The file `security.signer_limits` has one line a principal of the allowed_signers file:

    alice@lab  dags=align_*,qc  queues=default,gpu  user=alice
    bob@lab    user=bob  run_as=bob,pipeline
    *          queues=default

A line `*` is for all who have none of their own; who has none, and there is no such line, may have nothing run.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from rqflow.exceptions import ConfigError

#: The line for all who have none of their own, and the names of options.
EVERYBODY = "*"
DAGS, QUEUES, USER, RUN_AS = "dags", "queues", "user", "run_as"
_ACCOUNT = re.compile(r"[A-Za-z_][A-Za-z0-9_.@-]*\$?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a principal may have run. A pattern is one of a shell: `*` stands for any characters, `?` for one, `[…]` for one of these."""

    principal: str = EVERYBODY
    #: Patterns of dag ids and of queues.
    dags: tuple[str, ...] = ("*",)
    queues: tuple[str, ...] = ("*",)
    #: The account that its tasks have on a worker of root; None: no account was given to it.
    user: str | None = None
    #: Other accounts that a task may ask for with run_as_user.
    run_as: tuple[str, ...] = ()

    def allow_dag(self, dag_id: str) -> bool:
        """Tell whether this DAG may be run."""
        return any(fnmatchcase(dag_id, pattern) for pattern in self.dags)

    def allow_queue(self, queue: str) -> bool:
        """Tell whether tasks may be run from this queue."""
        return any(fnmatchcase(queue, pattern) for pattern in self.queues)


def read(path: Path) -> dict[str, Limits]:
    """Return {principal: limits} of a file; raises ConfigError with `file:line` for each line that is none, and for a file that cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}", hint="security.signer_limits names it; `touch` makes an empty one.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8", hint="security.signer_limits names it.") from error
    found: dict[str, Limits] = {}
    problems = []
    for number, line in enumerate(lines, 1):
        try:
            limits = parse(line)
            if limits and limits.principal in found:
                raise ValueError(f"{limits.principal} has a line above already")
        except ValueError as error:
            problems.append(f"{path}:{number}: {error}")
            continue
        if limits:
            found[limits.principal] = limits
    if problems:
        raise ConfigError("\n".join(problems), hint="Write a line like: alice@lab dags=align_*,qc queues=default user=alice run_as=pipeline")
    return found


def parse(line: str) -> Limits | None:
    """Return what a line says; None for an empty one and a comment. Raises ValueError with what is wrong."""
    words = shlex.split(line, comments=True)
    if not words:
        return None
    principal, *options = words
    if "=" in principal:
        raise ValueError(f"it must begin with a principal of the allowed_signers file, not with {principal}")
    if principal != EVERYBODY and set(principal) & set("*?!,"):
        raise ValueError(f"{principal} is no name: a principal is written in full, and {EVERYBODY} alone is for all others")
    given: dict[str, tuple[str, ...]] = {}
    for option in options:
        name, equals, text = option.partition("=")
        if name not in {DAGS, QUEUES, USER, RUN_AS} or not equals:
            raise ValueError(f"{option} is not known; there are dags=, queues=, user= and run_as=")
        if name in given:
            raise ValueError(f"{name}= is there twice; write several values with commas between them")
        given[name] = tuple(part.strip() for part in text.split(","))
        if not all(given[name]):
            raise ValueError(f"{option} lacks a value; leave out {name}= where nothing is meant")
    for account in (*given.get(USER, ()), *given.get(RUN_AS, ())):
        _check_account(account)
    if len(given.get(USER, ())) > 1:
        raise ValueError("user= is one account; run_as= has those that a task may ask for beside it")
    return Limits(principal=principal, dags=given.get(DAGS, ("*",)), queues=given.get(QUEUES, ("*",)),
                  user=given[USER][0] if USER in given else None, run_as=given.get(RUN_AS, ()))


def of(limits: Mapping[str, Limits], principal: str) -> Limits | None:
    """Return the limits of a principal; None when it may have nothing run."""
    return limits.get(principal) or limits.get(EVERYBODY)


def _check_account(name: str) -> None:
    if name == "root":
        raise ValueError("tasks never run as root")
    if not _ACCOUNT.fullmatch(name):
        raise ValueError(f"{name} is no name of an account")
