"""What can go wrong, said for people: a message, a hint what to do, and the exit code of the command line.

The exit codes are those of the table in docs/reference/exit-codes.md. A subclass is made when a caller can act on it;
everything else is one of these with another message.
"""

from __future__ import annotations

from typing import ClassVar


class RqflowError(Exception):
    """Base of all errors that rqflow raises on purpose; anything else that reaches an edge is a bug."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        """Keep `message` (what is wrong, and where) and `hint` (what to do about it)."""
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Return the message, and the hint on a line of its own when there is one."""
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class UsageError(RqflowError):
    """The call itself is off: a file that does not exist, an option that lacks its partner, conf that is no JSON."""

    exit_code = 2


class NotFound(RqflowError):
    """A named thing does not exist: a DAG, a run, a task, a pool, a setting, a log."""

    exit_code = 3


class DagNotFound(NotFound):
    """No DAG of that id is registered."""


class RunNotFound(NotFound):
    """No run of that id exists."""


class TaskNotFound(NotFound):
    """The DAG, or this run of it, has no such task."""


class PoolNotFound(NotFound):
    """No pool of that name exists."""


class NotPermitted(RqflowError):
    """The caller is not logged in, or may not do this."""

    exit_code = 4


class TooMany(NotPermitted):
    """It was tried too often in a short time: a login, one's own password."""


class Conflict(RqflowError):
    """The wish contradicts what is: a run id that exists, a home in use, a database that needs `rqflow db upgrade`."""

    exit_code = 5


class ConfigError(RqflowError):
    """A setting that is unknown, of the wrong type, or contradicts another one."""

    exit_code = 6


class DagLoadError(RqflowError):
    """A DAG file that cannot be used; `problems` holds one `file:line: message` each."""

    exit_code = 6

    def __init__(self, problems: list[str], *, hint: str = "") -> None:
        """Join the problems into the message."""
        super().__init__("\n".join(problems), hint=hint)
        self.problems = problems


class ServiceUnreachable(RqflowError):
    """Redis, the database or a server does not answer."""

    exit_code = 7


class BrokerError(ServiceUnreachable):
    """Redis does not answer, refuses us, or is not one that rqflow can use."""


class StoreError(ServiceUnreachable):
    """The database does not answer or refuses us."""


class NotFinished(RqflowError):
    """The run asked about has not ended."""

    exit_code = 8


class TimedOut(RqflowError):
    """The time given by --timeout is over; what was waited for goes on."""

    exit_code = 124


class TaskFailed(RqflowError):
    """A task cannot be started or has failed for a reason that rqflow, not the command, names."""


class TemplateError(TaskFailed):
    """A template does not compile, uses an unknown variable, takes too long, or would splice an unsafe value."""


class SkipTask(RqflowError):
    """A task's own code says that the task is to be skipped."""


class FailTask(TaskFailed):
    """A task's own code says that it failed and that a further try would be in vain."""
