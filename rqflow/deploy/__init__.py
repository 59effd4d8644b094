"""Embedded Redis, state folder, services."""

from __future__ import annotations
