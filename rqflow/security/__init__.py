"""Secrets: the keys by which they are sealed, what of Variables and Connections is secret, and how it is kept out of logs."""

from __future__ import annotations
