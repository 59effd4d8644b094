"""The facade: what an author of DAG files imports. Nothing inside the package imports it."""

from __future__ import annotations

__version__ = "0.1.0"
