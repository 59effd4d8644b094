"""The system of `scripts/soak --far`: a hub and two workers, machines with a network between them and nothing but ssh that leads from one to another.

What is killed is started again, as supervisord would; a machine that boots has the disk it had, and another boot id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import soak_plan as plan
from benchmarks.soak_lab import Member, Site
from benchmarks.soak_plan import Fault
from tests import services
from tests.e2e.evidence import reboot
from tests.e2e.far import Far, Hub
from tests.e2e.lab import Lab
from tests.network.network import a_network

SCHEDULER, FAR = "scheduler", ("far1", "far2")
TUNNEL, WORKER = "tunnel-{}", "worker-{}"


@dataclass(slots=True, kw_only=True)
class FarSite(Site):
    """Everything that runs, on three machines. Redis is the hub's own, so that nothing is done to it but with the hub."""

    hub: Hub
    far: Mapping[str, Far]
    hub_is_up: bool = True
    sshd_is_up: bool = True

    def said(self, name: str) -> str:
        """Return the last lines of the newest log of a process."""
        roots = [self.lab.root, *(far.lab.root for far in self.far.values())]
        logs = sorted((path for root in roots for path in root.glob(f"{name}-[0-9]*.log")), key=lambda path: path.stat().st_mtime)
        return "\n".join(logs[-1].read_text(encoding="utf-8", errors="replace").splitlines()[-5:]) if logs else "nothing"

    def strike(self, fault: Fault) -> None:
        """Let a fault happen now; what it broke is mended later by `turn`."""
        kinds: dict[str, Callable[[Fault], str]] = {
            plan.HOLE: self._break, plan.RESETS: self._break, plan.LOSS: self._break, plan.CABLE: self._break, plan.SSHD: self._kill_sshd,
            plan.HUB_REBOOT: self._reboot_hub, plan.WORKER_REBOOT: self._reboot_worker, plan.KEEPER: self._kill, plan.WORKER: self._kill}
        self.note(f"fault {fault.number + 1}: {fault.kind}, {kinds[fault.kind](fault)}")

    def _break(self, fault: Fault) -> str:
        """Break the way between the hub and one worker; its mending mends the others, too."""
        name, network = fault.hits(FAR), self.hub.network
        one, other = self.hub.host, self.far[name].host
        breaking: dict[str, Callable[[], None]] = {
            plan.HOLE: lambda: network.cut(one, other), plan.RESETS: lambda: network.reset(one, other),
            plan.LOSS: lambda: network.lose(one, other, 20), plan.CABLE: lambda: network.unplug(other)}
        breaking[fault.kind]()
        self._later(fault.lasts, network.heal)
        return f"between hub and {name} for {fault.lasts:.1f} s"

    def _kill(self, fault: Fault) -> str:
        name = (TUNNEL if fault.kind == plan.KEEPER else WORKER).format(fault.hits(FAR))
        self.members[name].kill(again_in=fault.lasts)
        return f"{name} for {fault.lasts:.1f} s"

    def _kill_sshd(self, fault: Fault) -> str:
        if not self.hub_is_up or not self.sshd_is_up:
            return "down already"
        self.hub.host.sshd.kill()
        self.sshd_is_up = False
        self._later(fault.lasts, self._start_sshd)
        return f"that of the hub, with all sessions, for {fault.lasts:.1f} s"

    def _start_sshd(self) -> None:
        if self.hub_is_up and not self.sshd_is_up:
            self.hub.host.sshd.start()
            self.sshd_is_up = True

    def _reboot_hub(self, fault: Fault) -> str:
        if not self.hub_is_up:
            return "down already"
        self.members[SCHEDULER].kill(again_in=fault.lasts)
        self.hub.host.power_cut()
        self.hub_is_up = self.sshd_is_up = False
        self._later(fault.lasts, self._boot_hub)
        return f"down for {fault.lasts:.1f} s"

    def _boot_hub(self) -> None:
        self.hub.serve()
        self.hub_is_up = self.sshd_is_up = True

    def _reboot_worker(self, fault: Fault) -> str:
        name = fault.hits(FAR)
        far = self.far[name]
        for member in (TUNNEL, WORKER):
            self.members[member.format(name)].kill(again_in=fault.lasts)
        far.host.power_cut()
        reboot(far.work_dir)
        return f"{name} for {fault.lasts:.1f} s"


@contextmanager
def site(folder: Path, _: str) -> Iterator[FarSite]:
    """Make the machines, and name the processes, of which none is started yet; all of it is gone afterwards. The history is in SQLite, on the hub."""
    with ExitStack() as stack:
        network = stack.enter_context(a_network())

        def new_lab(**options: Any) -> Lab:
            made = Lab(folder / options["host"].name, **options)
            stack.callback(made.close)
            return made

        graces = ", ".join(["never", *(f"{queue}={seconds:g}s" for queue, seconds in plan.GRACES.items())])
        hub = Hub(network, new_lab, database_url=f"sqlite:///{folder}/hub.db", environ={
            "RQFLOW__WORKER__GRACE": graces, "RQFLOW__LOGS__FOLDER": str(folder / "archive"), "RQFLOW__REDIS__SOCKET_TIMEOUT": "2s"})
        hub.lab.run("db", "upgrade")
        far = {name: Far(hub, name, environ={"RQFLOW__WORKER__GRACE": graces, "RQFLOW__REDIS__SOCKET_TIMEOUT": "2s",
                                             "RQFLOW__WORKER__WORK_DIR": str(folder / name / "work")}) for name in FAR}
        made = FarSite(hub.lab, services.OwnRedis(folder), {}, None, redis_is_up=False, hub=hub, far=far)
        for member in _members(made):
            made.members[member.name] = member
        yield made


def _members(made: FarSite) -> Iterator[Member]:
    """Give the processes, in the order of their start."""
    yield Member(SCHEDULER, lambda: made.hub.lab.start("scheduler", name=SCHEDULER))
    for name, far in made.far.items():
        tunnel, worker = TUNNEL.format(name), WORKER.format(name)
        yield Member(tunnel, lambda far=far, tunnel=tunnel: far.lab.start("tunnel", "up", name=tunnel))  # type: ignore[misc]
        yield Member(worker, lambda far=far, worker=worker: far.lab.start(  # type: ignore[misc]
            "worker", "-n", "3", "-Q", f"{plan.FENCED},{plan.DEFAULT}", name=worker))
