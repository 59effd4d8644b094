"""When: delayed retries, and what keeps the hub tidy."""

from __future__ import annotations
