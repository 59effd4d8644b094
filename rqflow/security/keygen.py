"""OpenSSH's ssh-keygen, which makes and checks the signatures: run without a shell, with an environment of its own, and never for long."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from rqflow.exceptions import ConfigError

#: What our signatures are for, which ssh-keygen writes into each; those that were made for files or git are refused.
NAMESPACE = "rqflow-dag"
#: Seconds after which a call that asks nobody is given up.
PATIENCE = 30.0
_ENVIRON = {"PATH": os.defpath, "LC_ALL": "C"}


def program() -> str:
    """Return where ssh-keygen is; raises ConfigError when it is not installed."""
    found = shutil.which("ssh-keygen")
    if found is None:
        raise ConfigError("ssh-keygen is not installed here, which signs DAGs and checks their signatures",
                          hint="Install OpenSSH 8.9 or later (package openssh-client or openssh-clients).")
    return found


def ask(arguments: Sequence[str], *, signature: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run `ssh-keygen -Y ARGUMENTS -s SIGNATURE` on `data`; return how it ended. Raises ConfigError when it cannot be run, or does not end."""
    descriptor = os.memfd_create("signature", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, signature.encode("ascii", "replace"))
        command = [program(), "-Y", *arguments, "-s", f"/proc/self/fd/{descriptor}"]
        return subprocess.run(command, input=data, capture_output=True, timeout=PATIENCE, pass_fds=(descriptor,), env=_ENVIRON, cwd="/", check=False)
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"ssh-keygen did not end within {PATIENCE:g} s") from error
    except OSError as error:
        raise ConfigError(f"ssh-keygen cannot be run: {error.strerror}") from error
    finally:
        os.close(descriptor)


def is_sound(signature: str, data: bytes) -> bool:
    """Tell whether somebody has signed just this, whoever it was. Raises ConfigError as `ask` does."""
    return ask(["check-novalidate", "-n", NAMESPACE], signature=signature, data=data).returncode == 0
