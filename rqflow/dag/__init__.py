"""What to run: DAGs, tasks, their graph, templates and versions. Pure: no Redis, no SQL, no clock."""

from __future__ import annotations
