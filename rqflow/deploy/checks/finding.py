"""What a check of an installation came to."""

from __future__ import annotations

from dataclasses import dataclass

from rqflow.actions.verdict import Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What one check saw."""

    check: str
    verdict: Verdict
    detail: str
    #: What to do; empty where nothing is to be done.
    remedy: str = ""
