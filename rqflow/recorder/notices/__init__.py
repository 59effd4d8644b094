"""Telling people: which events matter to somebody, to whom, in which messages, and the outbox that sends them."""

from __future__ import annotations
