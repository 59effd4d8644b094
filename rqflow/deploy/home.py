"""The home of rqflow: the folder with the configuration file and the DAG files. Live state is elsewhere (statedir.py)."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path

from rqflow import clock
from rqflow.exceptions import ConfigError, Conflict
from rqflow.settings import SECTIONS, Settings, keys
from rqflow.values import show

_HEAD = """\
# Configuration of rqflow, read from HOME/rqflow.cfg (or -c FILE, RQFLOW_CONFIG).
#
# Each line that is commented out shows the default. A variable RQFLOW__SECTION__KEY wins over this file;
# RQFLOW__SECTION__KEY_FILE names a file that holds the value. `rqflow config list` shows what is in force.
# Durations: 90s 15m 2h 7d 1h30m. Sizes: 512 48K 16M 1G."""

_EXAMPLE = '''\
"""The first DAG: three bash tasks, one after the other. Run it with `rqflow submit hello.py --run --follow`."""

from datetime import datetime

from rqflow import DAG, BashOperator

with DAG("hello", start_date=datetime(2026, 1, 1), schedule=None, params={"name": "world"}):
    greet = BashOperator(task_id="greet", bash_command="echo Hello {{ params.name | shquote }}")
    count = BashOperator(task_id="count", bash_command="for i in 1 2 3; do echo line $i; sleep 0.2; done")
    leave = BashOperator(task_id="leave", bash_command="echo ran for {{ ds }} in {{ run_id | shquote }}")

    greet >> count >> leave
'''


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """What `make` wrote and what it found there already."""

    home: Path
    written: tuple[Path, ...]
    kept: tuple[Path, ...]


def sample(*, local_zone: str = "") -> str:
    """Return the text of conf/rqflow.cfg: every setting with its help and its default, commented out; with the zone of the machine that it is for."""
    lines, section = [_HEAD], ""
    for name, field, _ in keys():
        if name != section:
            section = name
            lines += [f"\n[{name}]", *_comment(SECTIONS[name].__doc__ or "")]
        told = f" This machine's is {local_zone}." if local_zone and field.name == "default_timezone" else ""
        lines += ["", *_comment(field.metadata["help"] + told), f"#{field.name} = {show(field.default)}".rstrip()]
    return "\n".join(lines) + "\n"


def make(settings: Settings, *, examples: bool, force: bool) -> Made:
    """Write rqflow.cfg, the folder of DAGs and an example into HOME; what is there is kept, or with `force` written anew.

    Raises Conflict when rqflow.cfg exists and `force` is not given, ConfigError when HOME cannot be written.
    """
    config = settings.home / "rqflow.cfg"
    if config.exists() and not force:
        raise Conflict(f"{config} exists", hint="Add --force to write a new one; the DAG files are kept in any case.")
    dags = settings.home / settings.core.dags_folder
    files = {config: sample(local_zone=clock.local_zone())} | ({dags / "hello.py": _EXAMPLE} if examples else {})
    written, kept = [], []
    try:
        dags.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            if path.exists() and path != config:
                kept.append(path)
                continue
            path.write_text(text, encoding="utf-8")
            written.append(path)
    except OSError as error:
        raise not_writable(settings.home, error) from error
    return Made(home=settings.home, written=tuple(written), kept=tuple(kept))


def ensure(settings: Settings) -> None:
    """Make HOME if it is absent and see that it can be written; raises ConfigError naming the remedy."""
    probe = settings.home / ".rqflow-writable"
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise not_writable(settings.home, error) from error


def not_writable(folder: Path, error: OSError) -> ConfigError:
    """Return the error that says why `folder` cannot be used and what to do."""
    return ConfigError(f"{folder} cannot be written: {error.strerror or error}",
                       hint="Choose another folder with --home DIR or RQFLOW_HOME, or make room and mend its permissions.")


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(" ".join(text.split()), 110)]
