from __future__ import annotations

import pytest

from rqflow.actions.scope import Scope
from rqflow.exceptions import UsageError


def test_what_contradicts_itself_is_refused() -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        Scope(only_failed=True, only_running=True)
    with pytest.raises(UsageError, match="no regular expression"):
        Scope(regex="(")
