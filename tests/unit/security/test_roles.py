"""The order of the roles."""

from __future__ import annotations

import pytest

from rqflow.security.roles import Person, Role

ORDER = [Role.VIEWER, Role.OPERATOR, Role.ADMIN]


@pytest.mark.parametrize("mine", ORDER)
@pytest.mark.parametrize("asked", ORDER)
def test_a_role_allows_what_it_and_those_below_it_may(mine: Role, asked: Role) -> None:
    assert mine.allows(asked) is (ORDER.index(mine) >= ORDER.index(asked))
    assert mine.at_most(asked) is ORDER[min(ORDER.index(mine), ORDER.index(asked))]


def test_who_sits_at_the_hub_is_an_administrator() -> None:
    assert Person.local("ada") == Person("ada", Role.ADMIN)
    assert Person.local("ada").is_admin
    assert not Person("ada", Role.OPERATOR).is_admin
