"""People who use the page and the API: who they are, how they come in, and what is theirs."""

from __future__ import annotations

from rqflow.actions.people.users import count_users as count_users
