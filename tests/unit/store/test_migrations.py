from __future__ import annotations

import re

from rqflow.store.schema import MIGRATIONS


def test_each_step_has_a_number_of_its_own_and_follows_the_one_before() -> None:
    steps = [(path.name[1:5], path.read_text(encoding="utf-8")) for path in sorted((MIGRATIONS / "versions").glob("r[0-9]*.py"))]
    before = None
    for number, (named, text) in enumerate(steps, 1):
        assert named == f"{number:04}"
        assert re.findall(r'^revision = "(\d+)"$', text, re.MULTILINE) == [named]
        assert re.findall(r'^down_revision = (?:"(\d+)"|None)$', text, re.MULTILINE) == [before or ""]
        before = named
