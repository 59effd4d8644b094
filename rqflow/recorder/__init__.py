"""Events into history, logs into the archive."""

from __future__ import annotations
