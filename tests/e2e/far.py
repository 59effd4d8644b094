"""A hub, and machines with workers that reach it by ssh alone: Redis with a password on the hub's loopback, a real sshd, tunnels, and what cuts them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping

from tests.e2e.lab import Lab
from tests.network import Network
from tests.waiting import until

PASSWORD = "s3cret"
#: How long a call to Redis may take, so that a black hole is noticed.
CALL = {"RQFLOW__REDIS__SOCKET_TIMEOUT": "1s"}


class Far:
    """A machine whose processes reach the hub through its own tunnel."""

    def __init__(self, hub: Hub, name: str, *, line: str = "-L hub redis", environ: Mapping[str, str] | None = None) -> None:
        """Make it, and let it enter the hub; nothing runs there yet."""
        self.hub, self.host = hub, hub.network.host(name)
        self.host.may_enter(hub.host)
        self.work_dir = self.host.folder / "work"
        own = {"RQFLOW__TUNNELS__HUB": line, "RQFLOW__REDIS__URL": f"tunnel://:{PASSWORD}@hub", "RQFLOW__WORKER__WORK_DIR": str(self.work_dir)}
        self.lab = hub.new_lab(host=self.host, environ={**CALL, **own, **(environ or {})})
        self.lab.redis_url = hub.lab.redis_url  # by which the test looks who is there

    def dial(self) -> subprocess.Popen[bytes]:
        """Start what keeps the tunnel up, and wait until it is."""
        process = self.lab.start("tunnel", "up")
        until(lambda: self.link() == "up", what="the tunnel")
        return process

    def work(self, *arguments: str, environ: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start a worker, and wait until the hub knows it."""
        return self.lab.worker(*arguments, environ=environ)

    def link(self) -> str:
        """Return how its tunnel is."""
        return self.lab.link("hub").state.value


class Hub:
    """A machine with Redis, an sshd, and a scheduler with SQLite, or another database, and the archive."""

    def __init__(self, network: Network, new_lab: Callable[..., Lab], *, database_url: str = "", environ: Mapping[str, str] | None = None) -> None:
        """Make it; all of it runs, but the scheduler."""
        self.network, self.new_lab, self.host = network, new_lab, network.host("hub")
        self.lab = new_lab(host=self.host, redis_url=self.host.redis_url.replace("unix://", f"unix://:{PASSWORD}@"), database_url=database_url,
                           environ={**CALL, **(environ or {})})
        self.serve()

    def serve(self) -> None:
        """Start Redis and sshd, also after a power cut."""
        self.host.redis(password=PASSWORD)
        self.host.sshd.start()


#: A pulled cable is a black hole to both sides; the chaos has it.
FAULTS: Mapping[str, Callable[[Far], None]] = {
    "reset": lambda far: far.hub.network.reset(far.host, far.hub.host),
    "black hole": lambda far: far.hub.network.cut(far.host, far.hub.host),
    "sshd": lambda far: far.hub.host.sshd.kill(),
}


def mend(far: Far, fault: str) -> None:
    """End a fault."""
    far.hub.network.heal()
    if fault == "sshd":
        far.hub.host.sshd.start()
