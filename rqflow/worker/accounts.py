"""Under which account a task runs, and what is done for it there.

Without worker.run_as it is the worker's own. Else root becomes it, and anybody else asks `sudo`. Never is it root. What it may be is decided by who
signed the version (security/limits.py) and by the settings, never by the task alone.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rqflow import clock
from rqflow.dag.version import TaskSpec
from rqflow.exceptions import ConfigError, TaskFailed
from rqflow.security.limits import Limits
from rqflow.settings import Security as SecuritySettings
from rqflow.settings import WorkerSettings
from rqflow.worker.program import INSTALLED

#: Values of worker.run_as that are no account: the worker's own, and that of whoever signed.
WORKER, SIGNER = "worker", "signer"
#: What runs there, below the folder of the package.
CHILD = Path("rqflow", "worker", "account_child.py")
#: Names that a task under another account has of its worker's environment.
_SHARED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "PYTHONUNBUFFERED")
#: Seconds for which an account is believed to be usable, and for which an errand may take.
_BELIEVED, _PATIENCE = 60.0, 60.0
#: Where a Python is looked for that all accounts may run, when they may not run the worker's.
_PYTHONS = ("/usr/bin/python3", "/usr/local/bin/python3", "/bin/python3")


class NoSuchAccount(TaskFailed):
    """A task may not, or cannot, run under an account; a further try would be in vain until somebody changes that."""

    exit_code = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """An account of this machine that is not the worker's."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    shell: str
    #: Its folder for tasks, made when it is needed.
    base: str
    #: What starts account_child.py under it; by sudo when the worker is not root.
    command: tuple[str, ...]
    is_by_sudo: bool

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """Return what its tasks begin with: what is the same for all of `inherited`, and what login would set."""
        shared = {name: inherited[name] for name in _SHARED if name in inherited}
        return {**shared, "HOME": self.home, "USER": self.name, "LOGNAME": self.name, "SHELL": self.shell}

    def expand(self, path: str) -> str:
        """Return a path with this account's home in place of a ~ at its beginning."""
        return self.home + path[1:] if path == "~" or path.startswith("~/") else path

    def place(self, execution_id: str) -> Path:
        """Return the folder that a try has there."""
        return Path(self.base, "tries", execution_id)

    def ask(self, do: str, **parcel: Any) -> dict[str, Any]:
        """Have an errand done (account_child.py) and return the answer; raises NoSuchAccount with what sudo, or the kernel, says."""
        try:
            done = subprocess.run(
                self.command, input=json.dumps({"do": do, "uid": self.uid, **parcel}).encode(), capture_output=True, check=False, cwd="/",
                timeout=_PATIENCE, start_new_session=True, env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"}, **self.ids,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NoSuchAccount(f"nothing can be done as {self.name}: {error}", hint=self._remedy) from error
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise NoSuchAccount(f"nothing can be done as {self.name}: {said[-1] if said else f'exit code {done.returncode}'}", hint=self._remedy)
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    @property
    def ids(self) -> dict[str, Any]:
        """What subprocess needs to start `command`: nothing where sudo gives the ids."""
        return {} if self.is_by_sudo else {"user": self.uid, "group": self.gid, "extra_groups": list(self.groups)}

    def mark_partial(self, paths: Sequence[str], try_number: int) -> list[str]:
        """Rename outputs that a failed try left, as outputs.mark_partial does; raises NoSuchAccount."""
        return list(self.ask("partial", outputs=list(paths), try_number=try_number)["partial"]) if paths else []

    @property
    def _remedy(self) -> str:
        return "`rqflow worker sudoers` prints the line that sudo needs." if self.is_by_sudo else ""

    @property
    def plain(self) -> dict[str, Any]:
        """What `from_plain` makes an account of."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Account:
        """Return the account that `plain` was made of."""
        return cls(**{**plain, "groups": tuple(plain["groups"]), "command": tuple(plain["command"])})


class Accounts:
    """What one worker decides."""

    def __init__(self, settings: WorkerSettings) -> None:
        """Decide by these settings."""
        self._settings = settings
        self._others = {name.strip() for name in settings.accounts.split(",") if name.strip()}
        #: {name: (account, until when it is believed to be usable)}, by the monotonic clock.
        self._known: dict[str, tuple[Account, float]] = {}

    @property
    def runs_as_root(self) -> bool:
        """Whether tasks run as root, because the worker does and nobody has said otherwise."""
        return os.geteuid() == 0 and self._settings.run_as == WORKER

    def check(self, security: SecuritySettings) -> None:
        """See whether what worker.run_as says can be; raises ConfigError when no task could run so."""
        if self._settings.run_as == SIGNER and not (security.allowed_signers and security.signer_limits):
            raise ConfigError(f"worker.run_as is {SIGNER}, and security.allowed_signers and security.signer_limits are not both set",
                              hint="Set both, or name an account with worker.run_as. See docs/how-to/accounts.md.")
        if self._settings.run_as not in {WORKER, SIGNER}:
            try:
                look_up(self._settings.run_as, self._settings.account_dir)
            except NoSuchAccount as error:
                raise ConfigError(f"worker.run_as: {error.message}", hint=error.hint) from error

    def of(self, task: TaskSpec | None, signers: Sequence[Limits]) -> Account | None:
        """Return under which account a task runs that these have signed, or, None, a function of its DAG; None: that of this worker.

        Raises NoSuchAccount.
        """
        name = self._name(task.run_as_user if task else None, signers)
        if name is None or (_is_own(name) and (os.geteuid() != 0 or self.runs_as_root)):
            return None
        known = self._known.get(name)
        if known and known[1] > clock.monotonic():
            return known[0]
        account = look_up(name, self._settings.account_dir)
        account.ask("hello")
        self._known[name] = account, clock.monotonic() + _BELIEVED
        return account

    def _name(self, wanted: str | None, signers: Sequence[Limits]) -> str | None:
        own = self._own(wanted, signers)
        if wanted is None or wanted == own or (own is None and _is_own(wanted)):
            return own
        allowed = {name for limits in signers for name in (*limits.run_as, limits.user)} | self._others
        if wanted not in allowed:
            who = ", ".join(limits.principal for limits in signers)
            why = f"neither worker.accounts nor run_as= of {who} has it" if who else "worker.accounts does not have it, and nobody has signed for it"
            raise NoSuchAccount(f"run_as_user={wanted!r} is not allowed here: {why}", hint="See docs/how-to/accounts.md.")
        return wanted

    def _own(self, wanted: str | None, signers: Sequence[Limits]) -> str | None:
        """Return the account of a task that asks for none; raises NoSuchAccount when there is none and nobody has asked for one."""
        if self._settings.run_as != SIGNER:
            return None if self._settings.run_as == WORKER else self._settings.run_as
        user = next((limits.user for limits in signers if limits.user), None)
        if user is None and wanted is None:
            who = ", ".join(limits.principal for limits in signers)
            why = f"security.signer_limits gives {who} no account (user=)" if who else "nobody has signed it"
            raise NoSuchAccount(f"there is no account to run it under: worker.run_as is {SIGNER}, and {why}", hint="See docs/how-to/accounts.md.")
        return user


def look_up(name: str, folder: str) -> Account:
    """Return the account `name` of this machine, whose tasks have their places below `folder`. Raises NoSuchAccount, for root too."""
    try:
        found = pwd.getpwnam(name)
    except KeyError as error:
        raise NoSuchAccount(f"this machine has no account {name}") from error
    if found.pw_uid == 0:
        raise NoSuchAccount(f"tasks never run as root, which {name} is")
    groups = tuple(sorted({*os.getgrouplist(name, found.pw_gid), found.pw_gid}))
    account = Account(
        name=name, uid=found.pw_uid, gid=found.pw_gid, groups=groups, home=found.pw_dir, shell=found.pw_shell or "/bin/sh",
        base=f"{folder}/rqflow-{found.pw_uid}", command=(), is_by_sudo=os.geteuid() != 0,
    )
    child = str(INSTALLED / CHILD)
    if not may_read(child, account):
        raise NoSuchAccount(f"{name} may not read {child}", hint="Install rqflow where all accounts may read it, such as /opt/rqflow.")
    command = (python_of(account), "-I", "-S", child)
    return Account.from_plain({**account.plain, "command": (*sudo(name), *command) if account.is_by_sudo else command})


def sudo(name: str) -> tuple[str, ...]:
    """Return what comes before a command that sudo shall start under an account."""
    return (shutil.which("sudo") or "sudo", "-n", "-H", "-u", name, "--")


def python_of(account: Account) -> str:
    """Return a Python that this account may run: the worker's, or one of the system for account_child.py alone. Raises NoSuchAccount."""
    found = next((path for path in (sys.executable, *_PYTHONS) if may_read(path, account, os.X_OK)), None)
    if found is None:
        raise NoSuchAccount(f"{account.name} may run neither {sys.executable} nor one of {', '.join(_PYTHONS)}",
                            hint="Install rqflow where all accounts may read it, such as /opt/rqflow.")
    return found


def may_read(path: str | Path, account: Account, mode: int = os.R_OK) -> bool:
    """Tell, by owners and modes, whether an account may read a file, or run it, and enter all folders on the way there."""
    try:
        real = Path(path).resolve(strict=True)
        steps = [(one, os.X_OK) for one in (*real.parents, *Path(path).absolute().parents)]
        return all(_has(one.stat(), account, wanted) for one, wanted in [*steps, (real, mode)])
    except OSError:
        return False


def _has(found: os.stat_result, account: Account, wanted: int) -> bool:
    shift = 6 if found.st_uid == account.uid else 3 if found.st_gid in account.groups else 0
    return bool(stat.S_IMODE(found.st_mode) >> shift & wanted)


def _is_own(name: str) -> bool:
    """Tell whether this is the account of this process."""
    try:
        return pwd.getpwnam(name).pw_uid == os.geteuid()
    except KeyError:
        return False


def sudoers_line(worker: str, names: Sequence[str]) -> str:
    """Return the line that lets the account `worker` run tasks under these; raises NoSuchAccount for one that cannot be."""
    accounts = [look_up(name, "") for name in names]
    commands = sorted({" ".join(re.sub(r"([\\\\,:= ])", r"\\\1", word) for word in account.command[-4:]) for account in accounts})
    return f"{worker} ALL=({', '.join(account.name for account in accounts)}) NOPASSWD: {', '.join(commands)}"
