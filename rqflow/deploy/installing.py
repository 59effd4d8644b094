"""What starts the services when the machine starts: units of systemd, or a line of crontab; and taking that away again, and nothing else.

It never starts systemd. What was written is noted in HOME, with checksums, so that what a person has changed since is neither overwritten nor
removed unasked.
"""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from rqflow.deploy import statedir, units
from rqflow.deploy.supervision import REDIS, TUNNEL, WORKER
from rqflow.deploy.supervision import programs as all_programs
from rqflow.deploy.units import UNITS, Installation
from rqflow.exceptions import ConfigError, Conflict, NotFound, UsageError
from rqflow.settings import Settings, environment

#: In HOME: what was written, and where.
RECORD = "service.json"
TARGET, ALL = UNITS[-1], units.SYSTEM.services
#: Ends each line of crontab that is ours, before the path of HOME.
MARK = "# rqflow service install"
#: Seconds that systemctl or crontab may take: a stop waits for the services.
SECONDS = 120


class Way(StrEnum):
    """What starts the services."""

    SYSTEM = "system"
    USER = "user"
    CRON = "cron"


_SAID = {Way.SYSTEM: "units of the system", Way.USER: "units of your own systemd", Way.CRON: "an @reboot line of crontab"}


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What there is on this machine."""

    account: str
    uid: int
    #: True: this is no machine that runs but the folder of one.
    is_image: bool
    #: Whether systemd runs this machine, and that of the account without a login.
    has_systemd: bool
    lingers: bool
    #: Where units of the system are, and those of the account's own systemd.
    system_units: Path
    user_units: Path
    systemctl: str | None
    crontab: str | None

    def folder(self, way: Way) -> Path:
        """Return where units of this way are."""
        return self.system_units if way is Way.SYSTEM else self.user_units


def surroundings(root: Path = Path("/")) -> Surroundings:
    """Look at this machine, or at the image of one below `root`."""
    uid, environ = os.getuid(), environment()
    try:
        account, home = pwd.getpwuid(uid).pw_name, pwd.getpwuid(uid).pw_dir
    except KeyError:  # a container with a uid that has no name
        account, home = str(uid), environ.get("HOME", "/")
    config = Path(environ.get("XDG_CONFIG_HOME") or Path(home) / ".config")
    user_units = (config if root == Path("/") else root / config.relative_to("/")) / "systemd/user"
    return Surroundings(account=account, uid=uid, is_image=root != Path("/"), has_systemd=(root / "run/systemd/system").is_dir(),
                        lingers=(root / "var/lib/systemd/linger" / account).exists(), system_units=root / "etc/systemd/system", user_units=user_units,
                        systemctl=shutil.which("systemctl"), crontab=shutil.which("crontab"))


def choose(around: Surroundings, wanted: Way | None = None) -> tuple[Way, str]:
    """Return the way that is wanted, or the best that there is, and why. Raises ConfigError where none works."""
    if wanted is not None:
        return wanted, "you asked for it"
    if around.uid == 0 and (around.has_systemd or around.is_image):
        return Way.SYSTEM, "you are root, and systemd runs this machine" if not around.is_image else "this is the image of a machine"
    if around.has_systemd and around.lingers:
        return Way.USER, f"your own systemd lingers: it runs without a login of {around.account}"
    if around.crontab is None:
        if around.has_systemd:
            raise ConfigError("nothing here starts services with the machine: your own systemd does not linger, and there is no crontab",
                              hint=f"As root: loginctl enable-linger {around.account}")
        raise ConfigError("nothing here starts services with the machine: neither systemd nor crontab",
                          hint="Install cron; or let whatever starts this machine call `rqflow up`.")
    if around.has_systemd:
        return Way.CRON, "your own systemd does not linger: it would end with your last login"
    return Way.CRON, "systemd does not run this machine"


@dataclass(kw_only=True)
class Record:
    """What was installed."""

    way: Way
    #: {path: sha256 of what we wrote there}.
    files: dict[str, str] = field(default_factory=dict)
    #: Of crontab.
    line: str = ""


@dataclass(kw_only=True)
class Outcome:
    """What was done, and what is left to do."""

    way: Way
    reason: str = ""
    written: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    #: Commands that were carried out, and those that cannot be here.
    done: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def recorded(home: Path) -> Record | None:
    """Return what was installed for a home; None: nothing was."""
    try:
        found = json.loads((home / RECORD).read_text(encoding="utf-8"))
        return Record(way=Way(found["way"]), files=dict(found["files"]), line=str(found["line"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{home / RECORD} cannot be read: {error}",
                          hint="It says what `service install` wrote; remove it, and those files by hand.") from error


def install(home: Path, made: Installation, around: Surroundings, way: Way, reason: str, *, starts: bool, replaces: bool = False) -> Outcome:
    """Let the services of a home start with the machine, and with `starts` now. May be repeated.

    Raises Conflict for files that somebody else wrote or changed, unless it `replaces` them; UsageError for what cannot be written;
    ConfigError for a command that fails.
    """
    before = recorded(home)
    if before is not None and before.way is not way:
        raise Conflict(f"the services of {home} are installed as {_SAID[before.way]} already", hint="First: rqflow service uninstall")
    outcome = Outcome(way=way, reason=reason)
    if way is Way.CRON:
        _install_line(home, made, around, outcome, starts=starts)
    else:
        _install_units(home, made, around, outcome, before.files if before else {}, starts=starts, replaces=replaces)
    return outcome


def _install_line(home: Path, made: Installation, around: Surroundings, outcome: Outcome, *, starts: bool) -> None:
    """Put the line into the crontab that runs `rqflow up` when the machine starts."""
    # Without names `up` starts the private Redis too; that of a worker alone is elsewhere, or is started when it is needed.
    named = [*made.services, *(f"{TUNNEL}{name}" for name in made.tunnels)] if made.services != ALL else []
    line = cron_line(home, made.command, named)
    _write_record(home, Record(way=outcome.way, line=line))
    _edit_crontab(around, outcome, home, line)
    if starts:
        _carry_out([made.command, "--home", str(home), "up", *named], outcome, can=not around.is_image)


def _install_units(home: Path, made: Installation, around: Surroundings, outcome: Outcome, known: Mapping[str, str], *, starts: bool,
                   replaces: bool) -> None:
    """Write the units of systemd, remove those that are `known` from before and not among them, and enable them."""
    folder = around.folder(outcome.way)
    texts = _texts(folder, made)
    for path, text in texts.items():
        there = path.read_text(encoding="utf-8", errors="replace") if path.exists() else None
        if there not in {None, text} and _sum(there or "") != known.get(str(path)) and not replaces:
            raise Conflict(f"{path} was written, or changed, by somebody else",
                           hint="Put changes into a drop-in (systemctl edit); --force overwrites it.")
    sums = {str(path): _sum(text) for path, text in texts.items()}
    # First the record: what it lacks would never be removed.
    _write_record(home, Record(way=outcome.way, files={**known, **sums}))
    _write_units(folder, texts, known, outcome)
    _write_record(home, Record(way=outcome.way, files=sums))
    can = around.has_systemd and around.systemctl is not None and not around.is_image
    _carry_out(_systemctl(outcome.way, "daemon-reload"), outcome, can=can)
    _carry_out(_systemctl(outcome.way, "enable", *(["--now"] if starts else []), TARGET), outcome, can=can)


def _write_units(folder: Path, texts: Mapping[Path, str], known: Mapping[str, str], outcome: Outcome) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            if not path.exists() or path.read_text(encoding="utf-8", errors="replace") != text:
                path.write_text(text, encoding="utf-8")
                outcome.written.append(str(path))
        for old in known.keys() - {str(path) for path in texts}:
            Path(old).unlink(missing_ok=True)
            outcome.removed.append(old)
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be written: {error.strerror}", hint="As root, or with --user or --cron.") from error


def uninstall(home: Path, around: Surroundings, *, replaces: bool = False) -> Outcome:
    """Take away exactly what `install` wrote; tasks go on. A file that was changed since stays, unless it `replaces`.

    Raises NotFound when nothing is installed, ConfigError for a command that fails.
    """
    before = recorded(home)
    if before is None:
        raise NotFound(f"the services of {home} are not installed", hint="rqflow service status")
    outcome = Outcome(way=before.way)
    if before.way is Way.CRON:
        _edit_crontab(around, outcome, home, "")
        (home / RECORD).unlink()
        return outcome
    can = around.has_systemd and around.systemctl is not None and not around.is_image
    _carry_out(_systemctl(before.way, "disable", "--now", TARGET), outcome, can=can)
    kept = {}
    for name, checksum in before.files.items():
        path = Path(name)
        if not path.exists():
            continue
        if _sum(path.read_text(encoding="utf-8", errors="replace")) != checksum and not replaces:
            kept[name] = checksum
            continue
        path.unlink()
        outcome.removed.append(name)
    outcome.kept = sorted(kept)
    _carry_out(_systemctl(before.way, "daemon-reload"), outcome, can=can)
    if kept:
        _write_record(home, Record(way=before.way, files=kept))
    else:
        (home / RECORD).unlink()
    return outcome


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One unit, or the line of crontab, as it stands."""

    way: str
    name: str
    #: as installed, changed, missing.
    file: str
    #: What systemd says: active, inactive, failed, enabled …; empty where it cannot be asked.
    state: str = ""


def standing(home: Path, around: Surroundings) -> list[Standing]:
    """Return how what was installed stands; raises NotFound when nothing was."""
    record = recorded(home)
    if record is None:
        way, reason = choose(around)
        raise NotFound(f"the services of {home} are not installed", hint=f"`rqflow service install` would use {_SAID[way]}, for {reason}.")
    if record.way is Way.CRON:
        there = record.line in _crontab(around).splitlines()
        return [Standing(way=record.way, name="@reboot", file="as installed" if there else "missing")]
    found = []
    for name, checksum in record.files.items():
        path = Path(name)
        file = "missing"
        if path.exists():
            file = "as installed" if _sum(path.read_text(encoding="utf-8", errors="replace")) == checksum else "changed"
        unit = path.name.replace("@.", "@default.") if "worker" in path.name else path.name
        found.append(Standing(way=record.way, name=unit, file=file, state="" if "@." in unit else _state(record.way, unit, around)))
    return found


def said(way: Way) -> str:
    """Return a way in words."""
    return _SAID[way]


def cron_line(home: Path, command: str, names: Sequence[str] = ()) -> str:
    """Return the line of crontab that starts the services of a home, or the named ones. Raises UsageError for a path that cannot stand in it."""
    if any(character in f"{home}{command}" for character in "%\n"):
        raise UsageError(f"{home} or {command} has a character that cannot stand in crontab")
    return f"@reboot {shlex.join([command, '--home', str(home), 'up', *names])} >/dev/null 2>&1 {MARK} {home}"


def _texts(folder: Path, made: Installation) -> dict[Path, str]:
    try:
        return {folder / name: units.rendered(name, made) for name in UNITS}
    except ValueError as error:
        raise UsageError(str(error)) from error


def _systemctl(way: Way, *words: str) -> list[str]:
    return ["systemctl", *(["--user"] if way is Way.USER else []), *words]


def _carry_out(command: Sequence[str], outcome: Outcome, *, can: bool) -> None:
    """Carry a command out, or note it where that cannot be. Raises ConfigError when it fails."""
    if not can:
        outcome.left.append(shlex.join(command))
        return
    try:
        ended = subprocess.run(list(command), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"{shlex.join(command)}: {error}") from error
    if ended.returncode:
        raise ConfigError(f"{shlex.join(command)} failed: {(ended.stderr or ended.stdout).strip() or f'exit code {ended.returncode}'}",
                          hint="What was written is there; mend that, and repeat.")
    outcome.done.append(shlex.join(command))


def _state(way: Way, unit: str, around: Surroundings) -> str:
    if around.systemctl is None or not around.has_systemd or around.is_image:
        return ""
    ended = subprocess.run(_systemctl(way, "is-active", unit), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False)
    return ended.stdout.strip() or "unknown"


def _crontab(around: Surroundings) -> str:
    """Return the account's crontab. Raises ConfigError where there is no crontab."""
    if around.crontab is None:
        raise ConfigError("there is no crontab on this machine", hint="Install cron.")
    listed = subprocess.run([around.crontab, "-l"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False)
    if listed.returncode and "no crontab" not in listed.stderr.lower():
        raise ConfigError(f"crontab -l: {listed.stderr.strip() or f'exit code {listed.returncode}'}")
    return listed.stdout if not listed.returncode else ""


def _edit_crontab(around: Surroundings, outcome: Outcome, home: Path, line: str) -> None:
    """Put our line into crontab in the place of one that is there, or take that out; all other lines stay as they are."""
    before = _crontab(around)
    others = [one for one in before.splitlines() if not one.endswith(f"{MARK} {home}")]
    after = "".join(f"{one}\n" for one in [*others, *([line] if line else [])])
    if after == before:
        return
    assert around.crontab
    written = subprocess.run([around.crontab, "-"], input=after, capture_output=True, text=True, timeout=SECONDS, check=False)
    if written.returncode:
        raise ConfigError(f"crontab refuses the line: {written.stderr.strip()}", hint=f"Put it there by `crontab -e`: {line}" if line else "")
    (outcome.written if line else outcome.removed).append(f"crontab: {line or '@reboot line'}")


def _write_record(home: Path, record: Record) -> None:
    fresh = home / f".{RECORD}.new"
    try:
        fresh.write_text(json.dumps(asdict(record), indent=1) + "\n", encoding="utf-8")
        fresh.rename(home / RECORD)
    except OSError as error:
        raise UsageError(f"{home / RECORD} cannot be written: {error.strerror}") from error


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def log_command(settings: Settings, programs: Sequence[str], *, lines: int, follow: bool) -> list[str]:
    """Return the command that shows what the services say. Raises NotFound for a program that there is not, or that has said nothing yet."""
    record = recorded(settings.home)
    known = [program.name for program in all_programs(settings)]
    if unknown := [name for name in programs if name not in known]:
        raise NotFound(f"there is no program {', '.join(unknown)}", hint=f"There are {', '.join(known)}.")
    if record is not None and record.way is not Way.CRON:
        names = {name: f"rqflow-{name.replace('-', '@', 1) if name.startswith(TUNNEL) else name}" for name in known} | {WORKER: "rqflow-worker@*"}
        chosen = [word for name in programs or (name for name in known if name != REDIS) for word in ("-u", f"{names[name]}.service")]
        return ["journalctl", *(["--user"] if record.way is Way.USER else []), "-n", str(lines), *(["-f"] if follow else ["--no-pager"]), *chosen]
    folder = statedir.locate(settings, statedir.this_machine()) / "supervisor"
    files = [path for name in programs or known if (path := folder / f"{name}.log").exists()]
    if not files:
        raise NotFound(f"nothing has been said in {folder} yet", hint="`rqflow up` starts the services.")
    return ["tail", "-n", str(lines), *(["-F"] if follow else []), *map(str, files)]
