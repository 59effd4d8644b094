"""Tasks that wait for something to come about."""

from __future__ import annotations
