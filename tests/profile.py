"""The one profile of times for tests (architecture section 12): durations of production divided so that a fault takes seconds."""

from __future__ import annotations

HEARTBEAT = 0.3
LEASE = 2.0
GAP = 0.5
KILL_GRACE = 0.5
GRACE = 5.0
#: How long a test waits for something that should happen at once before it gives up; generous, because machines are noisy.
PATIENCE = 40.0
#: What a machine with other work to do may take more, where a test says within which time something is to happen.
NOISE = 6.0
#: Within which time a line of a task is to be read that it wrote (reliability 51).
LIVE = 3.0

#: The profile as settings from the environment, for real processes.
ENVIRON = {
    "RQFLOW__WORKER__HEARTBEAT": f"{HEARTBEAT}s",
    "RQFLOW__WORKER__LEASE": f"{LEASE}s",
    "RQFLOW__WORKER__GAP": f"{GAP}s",
    "RQFLOW__WORKER__KILL_GRACE": f"{KILL_GRACE}s",
    "RQFLOW__WORKER__SHEPHERD_LINGER": "1s",
    "RQFLOW__WORKER__CALLBACK_TIMEOUT": "15s",
    "RQFLOW__SCHEDULER__LOCK_TTL": "1s",
    "RQFLOW__SCHEDULER__FOLDER_INTERVAL": "300ms",
    "RQFLOW__SCHEDULER__COPY_INTERVAL": "300ms",
    "RQFLOW__SCHEDULER__IDLE_EXIT": "3s",
    "RQFLOW__REDIS__EMBEDDED_LINGER": "1s",
    "RQFLOW__NOTICES__GATHER": "0.5s",
    "RQFLOW__NOTICES__GATHER_MOST": "3s",
    "RQFLOW__NOTICES__RETRY_FIRST": "0.2s",
    "RQFLOW__NOTICES__RETRY_LONGEST": "1s",
    "RQFLOW__TUNNELS__CONNECT_TIMEOUT": "2s",
    "RQFLOW__TUNNELS__SERVER_ALIVE": "1s",
    "RQFLOW__TUNNELS__PROBE_INTERVAL": "300ms",
    "RQFLOW__TUNNELS__PROBE_TIMEOUT": "1s",
    "RQFLOW__TUNNELS__RETRY_FIRST": "100ms",
    "RQFLOW__TUNNELS__RETRY_LONGEST": "300ms",
    "RQFLOW__TUNNELS__RETRY_REFUSED": "1s",
}
