"""The history, in SQL."""

from __future__ import annotations
