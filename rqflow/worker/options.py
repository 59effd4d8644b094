"""What is asked of a worker: by its command, by RQ's, and by the settings for what is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TypedDict

from rqflow.exceptions import ConfigError
from rqflow.settings import Settings
from rqflow.worker.loop import DRAIN, KEEP, KILL, Options


class Asked(TypedDict, total=False):
    """What may be asked of a worker; what is left out comes from the settings."""

    queues: Sequence[str]
    slots: int
    labels: Sequence[str]
    work_dir: Path | None
    burst: bool
    max_tasks: int | None
    idle_exit: timedelta | None
    on_stop: str
    #: Files on which the shepherd keeps a shared lock (the users' file of the private Redis).
    holds: Sequence[Path]


def options_of(settings: Settings, queues: Sequence[str], asked: Asked) -> Options:
    """Return what a worker is to do, by what was asked and the settings; raises ConfigError for what cannot be."""
    slots = asked.get("slots") or settings.worker.slots
    on_stop = asked.get("on_stop") or settings.worker.on_stop
    if slots < 1:
        raise ConfigError(f"a worker needs at least one slot, not {slots}", hint="Set worker.slots, or -n.")
    if on_stop not in {KEEP, DRAIN, KILL}:
        raise ConfigError(f"on_stop must be keep, drain or kill, not {on_stop!r}", hint="Set worker.on_stop, or --on-stop.")
    if not queues:
        raise ConfigError("a worker needs a queue to serve", hint="Set worker.queues, or -Q.")
    idle = asked.get("idle_exit")
    return Options(
        queues=tuple(queues), slots=slots, labels=tuple(asked.get("labels") or words(settings.worker.labels)), burst=asked.get("burst", False),
        max_tasks=asked.get("max_tasks"), idle_exit=None if idle is None else idle.total_seconds(), on_stop=on_stop,
        holds=tuple(asked.get("holds") or ()),
    )


def work_dir_of(settings: Settings, asked: Asked) -> Path:
    """Return the folder of this worker; of the default the caller has seen that it is on a local disk."""
    state = settings.home / (settings.core.state_dir or "state")
    return (asked.get("work_dir") or Path(settings.worker.work_dir or state / "worker")).expanduser()


def usual_work_dir(settings: Settings) -> Path:
    """Return the folder of the home's own worker. One that the environment of a process names is that of a further worker."""
    if settings.origins.get("worker.work_dir", "").startswith("RQFLOW__"):
        settings = replace(settings, worker=replace(settings.worker, work_dir=""))
    return work_dir_of(settings, {})


def words(text: str) -> list[str]:
    """Return what stands between commas."""
    return [word.strip() for word in text.split(",") if word.strip()]
