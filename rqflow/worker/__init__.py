"""Where: the worker, its shepherd, and the tasks they run."""

from __future__ import annotations
