"""One module a step: rNNNN_what.py with revision "NNNN"."""

from __future__ import annotations
