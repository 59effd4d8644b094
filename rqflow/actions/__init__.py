"""Use cases that command line, page and API share."""

from __future__ import annotations
