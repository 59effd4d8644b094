"""Migrations of the history, run by store/schema.py: numbered, forward only, safe while the code of the release before runs."""

from __future__ import annotations
