"""The live state, in Redis: runs, task instances, gates, events, logs, requests."""

from __future__ import annotations
