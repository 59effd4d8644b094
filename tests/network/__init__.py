"""Machines with a network between them, for tests: namespaces, a real sshd on each, and all the ways in which a network breaks.

    def test_…(network: Network) -> None:
        hub, worker = network.host("hub"), network.host("worker")     # two machines: own addresses, own host names, own processes
        hub.redis()                                                    # on 127.0.0.1:6379 of the hub alone, and a socket for the test to look at
        hub.sshd.start()
        worker.may_enter(hub)                                          # a key, in the hub's authorized_keys; the hub's key in known_hosts
        lab = new_lab(host=worker, environ={"RQFLOW__TUNNELS__HUB": "-L hub redis", …})
        network.cut(hub, worker)                                       # black hole; also: forget, reset, refuse, lose, limit, unplug, relay
        network.heal()

- `Network` (network.py): makes and removes the namespaces, and breaks what is between them.
- `Host` (hosts.py): one machine. `host.command(...)` is a command line that runs there; `with host.inside():` lets sockets that are made in the
  block, and threads that are started in it, belong to it; `host.processes()` are its processes, for ending them all by pid, as a power cut does.
- `Sshd` (sshd.py): the sshd of a host. `start`, `stop`, `kill`, `freeze`; `options` are lines of its sshd_config.

What is one machine here, and what is not: network, host name, account (its home: `host.home`, its keys, its configuration of ssh) are each host's own. The file
system, the clock and the table of processes are shared. A unix socket can therefore be reached from everywhere: give the hub's Redis to workers by TCP on the hub's
loopback, or by a socket that only the tunnel's settings name, so that what works has gone through ssh.

All of it needs root and network namespaces; elsewhere these tests are skipped, with the reason. Nothing is left when the process of the tests ends,
however that is: a namespace lives as long as the process that holds it, which the kernel ends with its parent.
"""

from __future__ import annotations

from tests.network.hosts import Host
from tests.network.network import Network, needs_network
from tests.network.sshd import Sshd

__all__ = ["Host", "Network", "Sshd", "needs_network"]
