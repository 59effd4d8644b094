"""Who asks, and what people of a role may do."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum


class Role(str, Enum):
    """What a person may do at all: a viewer sees, an operator works with DAGs that are theirs, an admin does everything."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        """Place in the order viewer, operator, admin, from 0 on."""
        return list(Role).index(self)

    def allows(self, other: Role) -> bool:
        """Tell whether who has this role may do what asks for `other`."""
        return self.rank >= other.rank

    def at_most(self, other: Role) -> Role:
        """Return this role, or `other` where that is the lower one."""
        return self if other.allows(self) else other


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks for something, and the role in which they do."""

    name: str
    role: Role
    #: When what they come by lets them in no more: the end of a token. None: they may come again by themselves.
    until: datetime | None = field(default=None, compare=False)

    @classmethod
    def local(cls, name: str) -> Person:
        """Return the person at the command line of the hub: who can read the database is an administrator."""
        return cls(name, Role.ADMIN)

    @property
    def is_admin(self) -> bool:
        """Tell whether they may do everything."""
        return self.role is Role.ADMIN
