"""Every key in Redis, spelled once: RQ's own, and rqflow's beside them under the same prefix.

The Lua steps write K.NAME, and `lua_spelled` puts the key there, so nothing else spells a key. With RQ_KEY_PREFIX unset, RQ's keys begin
with `rq:` and ours with `rqflow:`.
"""

from __future__ import annotations

import re

from rq.defaults import RQ_KEY_PREFIX

from rqflow.dag.version import DEFAULT_POOL  # noqa: F401 (the steps have it in K)
from rqflow.states import RQ_STATUS, TERMINAL_RUN_STATES, TERMINAL_STATES, TRANSITIONS, RunState, TaskState

RQ = f"{RQ_KEY_PREFIX}:"
FLOW = f"{RQ_KEY_PREFIX}flow:"

# -- RQ's and rq-scheduler's own
RQ_QUEUES = f"{RQ}queues"
RQ_QUEUE = f"{RQ}queue:"
RQ_JOB = f"{RQ}job:"
RQ_WORKERS = f"{RQ}workers"
RQ_WORKER = f"{RQ}worker:"
RQ_EXECUTION = f"{RQ}execution:"
RQ_EXECUTIONS = f"{RQ}executions:"
RQ_WIP = f"{RQ}wip:"
RQ_DEFERRED = f"{RQ}deferred:"
RQ_FINISHED = f"{RQ}finished:"
RQ_FAILED = f"{RQ}failed:"
RQ_CANCELED = f"{RQ}canceled:"
RQ_RESULTS = f"{RQ}results:"
RQ_SUSPENDED = f"{RQ}suspended"
RQ_SCHEDULER = f"{RQ}scheduler"
RQ_SCHEDULER_INSTANCE = f"{RQ}scheduler_instance:"
RQ_SCHEDULED_JOBS = f"{RQ}scheduler:scheduled_jobs"

# -- the live state; RUN + run key is a hash, the others hang below it
#: Hash of a run: info, dag, run_id, version, state, left, counts, times. + ":t" hash index -> task instance, + ":x" hash of XComs,
#: + ":f" list of what propagation still has to do, + ":v" set of tasks to evaluate after it, + ":p" hash of what waits for the run before it,
#: + ":r" hash of the rows of tasks that follow another version, + ":vs" set of these versions.
RUN = f"{FLOW}run:"
#: Hash of a version: json, signatures of that, dag, and for each task its row (`i`), upstream list (`ui`) and downstream list (`di`). It is there
#: whole or not at all. + ":runs" set, + ":copy:" and a name: what one writer has of it so far.
VERSION = f"{FLOW}version:"
#: Sorted sets of run keys (seconds): being written since, unfinished ones by creation, finished ones by end.
PREPARING = f"{FLOW}preparing"
#: Set per DAG of the runs that run; sorted set per DAG of those that wait for one of them to end; sorted set of runs by when they must have ended.
ACTIVE = f"{FLOW}active:"
WAITING = f"{FLOW}waiting:"
DEADLINES = f"{FLOW}deadlines"
#: Hash run key -> keys of the runs whose tasks depend on that run's.
FOLLOWS = f"{FLOW}follows"
LIVE = f"{FLOW}live"
DONE = f"{FLOW}done"
#: Key per run that is being deleted: no run of this key is begun. Key per execution of a deleted run that may still run somewhere: it is to be
#: stopped.
BURIED = f"{FLOW}buried:"
DOOMED = f"{FLOW}doomed:"
#: Sorted set per queue: ready task instances, best first, and those that ask for labels, or for another worker than that of their former try.
READY = f"{FLOW}ready:"
LABELLED = f"{FLOW}labelled:"
#: List per queue, at most one element long: somebody may find work there.
BELL = f"{FLOW}bell:"
#: Counter that numbers task instances in the order in which they became ready.
SEQUENCE = f"{FLOW}sequence"
#: Hash of pools: name -> slots. Hash of what limits are in use: limit -> slots. Sorted set per limit: who waits for it. Set of the limits
#: whose free slots have not all been handed over yet.
POOLS = f"{FLOW}pools"
USED = f"{FLOW}used"
PARKED = f"{FLOW}parked:"
FREED = f"{FLOW}freed"
#: Sorted set of running executions by the end of their lease (seconds, Redis' clock); HOLDS per worker: the ones it holds.
LEASES = f"{FLOW}leases"
#: Sorted sets of executions whose lease ran out: by the end of their grace (seconds, inf: never), and by the time of the one notice.
UNREACHABLE = f"{FLOW}unreachable"
NOTICES = f"{FLOW}notices"
#: Hash queue -> since when nobody serves it although tasks wait there (JSON).
UNSERVED = f"{FLOW}unserved"
#: When recovery last looked (microseconds, Redis' clock).
WATCHED = f"{FLOW}watched"
#: Key per worker whose claims its successor has taken over: whatever of it is still under way claims nothing.
RETIRED = f"{FLOW}retired:"
HOLDS = f"{FLOW}holds:"
#: Hash of the epoch: run_id of the server process, number, state. Set of queues that give no work yet. Hash of the machines that serve queues
#: (host.work_dir -> JSON), of those that the history knows (-> 1), and set of those that have said in this epoch what they hold. List that calls
#: the leader's recovery.
EPOCH = f"{FLOW}epoch"
CLOSED = f"{FLOW}closed"
MACHINES = f"{FLOW}machines"
ADMITTED = f"{FLOW}admitted"
ANNOUNCED = f"{FLOW}announced"
CALL = f"{FLOW}call"
#: Hashes of the queues that give no work, and of the workers (host.work_dir) that take none, because a person said so (-> JSON: by, since).
HALTED = f"{FLOW}halted"
HALTED_WORKERS = f"{FLOW}halted:workers"
#: Hash of the workers (host.id) that did not sign off -> JSON: when Redis heard of it last (microseconds, its clock), and what it was then.
HEARD = f"{FLOW}heard"
#: Set per machine: executions of it whose ends the history has.
RECORDED = f"{FLOW}recorded:"
#: Hash job id -> run key:index of the entries in rq-scheduler's set, and the list that wakes the scheduler.
DUE = f"{FLOW}due"
WAKE = f"{FLOW}wake"
#: Last request id and reply of a caller; those of its turns and of its heartbeats have keys of their own.
REPLY = f"{FLOW}reply:"
#: Streams: what happened, what tasks print, what is asked of the hub.
EVENTS = f"{FLOW}events"
LOGS = f"{FLOW}logs"
LOGS_ACKED = f"{FLOW}logs:acked"
#: Hash that says why, and since when, the archive takes no logs; there only while it is so.
LOGS_HELD = f"{FLOW}logs:held"
REQUESTS = f"{FLOW}requests"
#: List with the answer to a request.
ANSWER = f"{FLOW}answer:"
#: The highest protocol that a process of this Redis had (protocol.py), and the set of the register entries of schedulers.
PROTOCOL = f"{FLOW}protocol"
SCHEDULERS = f"{FLOW}schedulers"
#: Lock of the leading scheduler, with its owner's token.
LEADER = f"{FLOW}leader"
#: Hash of the Variables and Connections, sealed, and of the generation of that copy.
OUTSIDE = f"{FLOW}outside"
#: Hash per machine (host.work_dir): calls of authors' functions that its worker is to make (id -> JSON). Key per version: its JSON, while such
#: calls wait.
CALLBACKS = f"{FLOW}callbacks:"
CALLBACK_VERSION = f"{FLOW}callbacks:version:"
#: Behind the key of such a version: its signatures (JSON list).
SIGNATURES = ":signatures"
#: Pub/sub channel that hints a worker to look at its marks now.
HINT = f"{FLOW}hint:"


def task_key(run_key: str) -> str:
    """Return the key of the hash of a run's task instances."""
    return f"{RUN}{run_key}:t"


def version_copy(sha: str, name: str) -> str:
    """Return the key of what one writer has of a version so far."""
    return f"{VERSION}{sha}:copy:{name}"


def past_key(run_key: str) -> str:
    """Return the key of the hash of what a run waits for of the run before it."""
    return f"{RUN}{run_key}:p"


def followed_key(run_key: str) -> str:
    """Return the key of the set of versions that tasks of a run follow beside its own."""
    return f"{RUN}{run_key}:vs"


def xcom_key(run_key: str) -> str:
    """Return the key of the hash of a run's XComs."""
    return f"{RUN}{run_key}:x"


def lua_tables() -> str:
    """Return the Lua source of the function `may` (transitions) and the tables TERMINAL, TERMINAL_RUN and RQ_STATUS for the head of each step."""
    # A function, since a table would be built anew at each call of each step.
    lines = ["local function may(old, new)"]
    for old, news in TRANSITIONS.items():
        allowed = " or ".join(f"new == '{new.value}'" for new in sorted(news))
        lines.append(f"  if old == '{old.value}' then return {allowed or 'false'} end")
    lines.append("end")
    lines.append(f"local TERMINAL = {_lua_set(TERMINAL_STATES)}")
    lines.append(f"local TERMINAL_RUN = {_lua_set(TERMINAL_RUN_STATES)}")
    lines.append("local RQ_STATUS = {" + ", ".join(f"{state.value} = '{status}'" for state, status in RQ_STATUS.items()) + "}")
    return "\n".join(lines)


def lua_spelled(source: str) -> str:
    """Return Lua source with the text of the key in the place of each `K.NAME`; raises KeyError for a name that is none."""
    return re.sub(r"\bK\.([A-Z_]+)", lambda found: f"'{_NAMES[found[1]]}'", source)


def _lua_set(states: frozenset[TaskState] | frozenset[RunState]) -> str:
    return "{" + ", ".join(f"{name} = true" for name in sorted(state.value for state in states)) + "}"


_NAMES = {name: value for name, value in globals().items() if name.isupper() and isinstance(value, str)}
