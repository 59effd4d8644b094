"""What a check of an installation came to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What a check came to."""

    OK = "ok"
    #: It works, and may not for ever, or not well.
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What one check saw."""

    check: str
    verdict: Verdict
    detail: str
    #: What to do; empty where nothing is to be done.
    remedy: str = ""
