"""What a task does; one file an operator."""

from __future__ import annotations
