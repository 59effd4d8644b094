"""ssh as a person uses it, for the moment of joining: the key of a host, and one command of rqflow over there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from rqflow.exceptions import ConfigError, Conflict, NotPermitted, RqflowError, ServiceUnreachable
from rqflow.settings import Tunnels
from rqflow.tunnel import Target

#: Where rqflow may be over there, beside the PATH of a login that is none: that of bootstrap first.
_FIND = """\
PATH={prefix}/venv/bin:"$HOME/.local/bin:$PATH"
command -v rqflow > /dev/null 2>&1 || {{ echo "rqflow-join: there is no rqflow" >&2; exit 127; }}
exec rqflow {words}
"""

#: Seconds that a command over there gets to end once nothing more comes.
_PATIENCE = 10.0
_OPENSSH = "It takes OpenSSH; tunnels.ssh names the program."


@dataclass(frozen=True, slots=True)
class HostKey:
    """The key by which a host proves who it is. `lines` are those of known_hosts, `fingerprints` what people compare."""

    lines: str
    fingerprints: tuple[str, ...]

    def is_one_of(self, fingerprint: str) -> bool:
        """Tell whether one of its fingerprints is this one, written as SHA256:… with or without what follows it."""
        return any(one.split()[1].rstrip("=") == fingerprint.strip().rstrip("=") for one in self.fingerprints)


@dataclass(frozen=True, kw_only=True, slots=True)
class Remote:
    """A host, as this person's ssh reaches it; who asks for a password asks the terminal."""

    target: Target
    settings: Tunnels
    #: Keys of hosts to believe; None: those that the person believes.
    known_hosts: Path | None = None

    def host_key(self) -> HostKey:
        """Ask the host for its key; nobody logs in. Raises ServiceUnreachable for one that does not answer."""
        with tempfile.TemporaryDirectory(prefix="rqflow-") as folder:
            known = Path(folder) / "known_hosts"
            # Whoever has no way of logging in is told the key of the host, and sent away.
            done = self._run([*self._begin(known), "-o", "StrictHostKeyChecking=no", "-o", "PreferredAuthentications=none", "-o", "HashKnownHosts=no",
                              "-o", "BatchMode=yes", "-o", "UpdateHostKeys=no", "-o", "CheckHostIP=no", *self._destination(), "true"], "")
            lines = known.read_text(encoding="utf-8") if known.exists() else ""
            if not lines.strip():
                said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
                raise ServiceUnreachable(f"{self.target} does not answer as an ssh server: {said}",
                                         hint="Are name and port right? USER@HOST:PORT")
            shown = subprocess.run(["ssh-keygen", "-l", "-f", str(known)], capture_output=True, text=True, check=False).stdout
        return HostKey(lines, tuple(shown.strip().splitlines()))

    @contextmanager
    def rqflow(self, words: Sequence[str], given: str, *, prefix: str = "~/rqflow") -> Iterator[dict[str, Any]]:
        """Run rqflow over there, with the line `given` on its stdin; give the JSON object that it answers with on a line, and let it go on until
        the block ends.

        Raises NotPermitted when nobody may log in, ConfigError where there is no rqflow, RqflowError with its own words and ServiceUnreachable.
        """
        script = _FIND.format(words=shlex.join(words), prefix=_shell_path(prefix))
        command = [*self._begin(self.known_hosts), *self._destination(), f"exec sh -c {shlex.quote(script)}"]
        with tempfile.TemporaryFile("w+") as errors, self._started(command, errors) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            with suppress(BrokenPipeError):
                process.stdin.write(given + "\n")
                process.stdin.flush()
            told = _object(process.stdout)
            if told is None:
                process.wait()
                errors.seek(0)
                raise self._error(process.returncode, errors.read())
            try:
                yield told
            finally:
                with suppress(BrokenPipeError):
                    process.stdin.close()
                try:
                    process.wait(_PATIENCE)
                except subprocess.TimeoutExpired:
                    process.kill()

    def shell(self, script: str, words: str = "sh") -> subprocess.CompletedProcess[str]:
        """Run a script of sh over there; return its end."""
        return self._run([*self._begin(self.known_hosts), *self._destination(), words], script)

    def command(self) -> list[str]:
        """Return how a command of ssh begins, with the person's own configuration."""
        return [self.settings.ssh, *(["-F", str(Path(self.settings.ssh_config).expanduser())] if self.settings.ssh_config else []), "-T", "-o",
                "ConnectTimeout=15"]

    def destination(self) -> list[str]:
        """Return the words with which it ends: which host."""
        return self._destination()

    def _begin(self, known_hosts: Path | None) -> list[str]:
        config = ["-F", str(Path(self.settings.ssh_config).expanduser())] if self.settings.ssh_config else []
        known = ["-o", f'UserKnownHostsFile="{known_hosts}"', "-o", "GlobalKnownHostsFile=/dev/null"] if known_hosts else []
        strict = ["-o", "StrictHostKeyChecking=yes"] if known_hosts is not None and known_hosts == self.known_hosts else []
        return [self.settings.ssh, *config, *known, *strict, "-T", "-o", "ClearAllForwardings=yes", "-o", "ConnectTimeout=15"]

    def _destination(self) -> list[str]:
        return [*(["-p", str(self.target.port)] if self.target.port else []), "--", self.target.login]

    def _run(self, command: Sequence[str], given: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(command, input=given, capture_output=True, text=True, check=False)
        except OSError as error:
            raise ConfigError(f"{command[0]} cannot be run: {error.strerror}", hint=_OPENSSH) from error

    def _started(self, command: Sequence[str], errors: IO[str]) -> subprocess.Popen[str]:
        try:
            return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
        except OSError as error:
            raise ConfigError(f"{command[0]} cannot be run: {error.strerror}", hint=_OPENSSH) from error

    def _error(self, code: int, said: str) -> RqflowError:
        lines = [line for line in said.strip().splitlines() if not line.startswith("Warning: ")]
        if code == 255:
            said = lines[-1] if lines else "it ended"
            if re.search(r"Permission denied|Too many authentication", said):
                return NotPermitted(f"{self.target} lets nobody log in: {said}", hint=f"Try it: ssh {self.target.login}")
            return ServiceUnreachable(f"{self.target} cannot be reached by ssh: {said}", hint=f"Try it: ssh {self.target.login}")
        if code == 127 and any("rqflow-join: there is no rqflow" in line for line in lines):
            return ConfigError(f"there is no rqflow on {self.target}: neither on the PATH, nor in ~/rqflow/venv",
                               hint="Install it there; or put a link to it into ~/.local/bin of that account.")
        if any("No such command" in line for line in lines):
            return Conflict(f"rqflow on {self.target} is of a release that lets no worker join", hint="Upgrade it there first.")
        told = [line.removeprefix("rqflow: ") for line in lines]
        return RqflowError(f"{self.target}: {told[0] if told else f'rqflow ended there with exit code {code}'}", hint="\n".join(told[1:]))


def _shell_path(path: str) -> str:
    """Return a path as a word of sh, in which ~ is the home folder over there."""
    return f'"$HOME"{shlex.quote(path[1:])}' if path.startswith("~/") else shlex.quote(path)


def _object(lines: Iterable[str]) -> dict[str, Any] | None:
    """Return the first line that is a JSON object; a login may say something before it."""
    for line in lines:
        with suppress(ValueError):
            found = json.loads(line)
            if isinstance(found, dict):
                return found
    return None
