"""What a look at something came to, in one word: for checks of an installation and for questions about a DAG."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """What a look at something came to."""

    OK = "ok"
    #: It works, and may not for ever, or not well; or it may be what nobody expected.
    WARNING = "warning"
    #: It does not work, or keeps runs or a task from starting, or made it fail.
    PROBLEM = "problem"
