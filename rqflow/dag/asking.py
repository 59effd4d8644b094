"""What a task's Python child may ask the hub: whoever starts the child says how, with `provide`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from rqflow import clock
from rqflow.exceptions import BrokerError, TaskFailed

#: Kinds of questions; deploy/answers.py has the answers.
START_RUN, RUN_STATE, EXTERNAL_STATE, STORE_VARIABLE = "start_run", "run_state", "external_state", "store_variable"
#: Variables and Connections for a worker that has not the hub's key, sealed for it.
SECRETS = "secrets"
#: Seconds between two attempts to ask a hub that does not answer.
_AGAIN = 5.0

#: Takes a kind and what it needs; raises BrokerError while the hub is away, RqflowError with its own words.
Ask = Callable[[str, Mapping[str, Any]], dict[str, Any]]
#: Of this process: set once, by whoever starts the child.
_given: list[Ask] = []


def provide(ask: Ask | None) -> None:
    """Say how this process asks the hub; None: not at all."""
    _given[:] = [ask] if ask is not None else []


def ask(kind: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hub's answer; raises BrokerError while it is away, RqflowError with its own words, TaskFailed where there is no hub."""
    if not _given:
        raise TaskFailed("there is no hub that could be asked", hint="`rqflow dag test` and `rqflow task test` have none; run it by `rqflow submit`.")
    return _given[0](kind, payload)


def ask_lastingly(kind: str, payload: Mapping[str, Any], log: logging.Logger, *, by: Ask | None = None) -> dict[str, Any]:
    """Do the same, `by` that way where one is given, again and again while the hub is away, which `log` tells once."""
    was_told = False
    while True:
        try:
            return (by or ask)(kind, payload)
        except BrokerError as error:
            if not was_told:
                log.warning("the hub does not answer, and is asked again until it does: %s", error.message)
                was_told = True
        clock.sleep(_AGAIN)
