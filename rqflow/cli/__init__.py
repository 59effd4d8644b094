"""The command line; one module a command group: parse, call one action, print."""

from __future__ import annotations
