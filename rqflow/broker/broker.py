"""The live state through one door: runs, claims, ends, gates; and what readers ask (reading.py). Each change is one Lua step."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

import redis

from rqflow.broker import creation, keys, protocol, rows, status
from rqflow.broker.connection import longest_wait
from rqflow.broker.epochs import Epochs
from rqflow.broker.faults import SetBack
from rqflow.broker.messages import ADMIT, Announced, Beat, Claim, Due, End, Ending, Turn
from rqflow.broker.mirror import Mirror, Mirrored
from rqflow.broker.reading import LiveState
from rqflow.broker.replies import items
from rqflow.broker.rows import job_id
from rqflow.broker.steps import LINK_ERRORS, Request, Steps
from rqflow.clock import boottime, from_micros, to_micros
from rqflow.dag.past import RunBefore
from rqflow.dag.run import RunInfo
from rqflow.dag.version import Version, amend
from rqflow.exceptions import RqflowError
from rqflow.settings import Settings
from rqflow.states import TaskState
from rqflow.wire import decode, encode

#: Tasks of a run that one step removes.
FORGET_CHUNK = 500
#: Alarms that one step sets.
_TICKS = 500


class Broker(LiveState):
    """One process' access to the live state. Not for several threads at once: give each its own, on its own connection."""

    def __init__(self, connection: redis.Redis, settings: Settings, *, caller: str = "") -> None:
        """Take a connection from broker.connection, and the name of who calls: a worker's name, else one is made up."""
        super().__init__(connection, settings)
        self.caller = caller or f"caller-{uuid.uuid4().hex[:12]}"
        self.steps = Steps(connection, self.caller)
        graces = {"": settings.worker.grace.default, **settings.worker.grace.queues}
        self._graces = {queue: 0 if grace is None else int(grace.total_seconds() * 1_000_000) for queue, grace in graces.items()}
        #: Who claims, and the epoch in which it has said what it holds; None for a process that holds nothing.
        self.machine: str | None = None
        self.epoch: int | None = None
        #: Whether this worker runs only what was signed, which the hub is told.
        self.verifies = False
        #: The generation of the stored Variables and Connections, as `believe` saw it last; None where it does not look.
        self.outside_generation: str | None = None
        self._turns = 0
        self._unanswered: tuple[Request, tuple[End, ...], float] | None = None

    # ---------------------------------------------------------------- runs

    def create_run(self, run: RunInfo, version: Version, *, before: RunBefore | None = None, is_left: bool = False) -> bool:
        """Write a run with its jobs and start it, or let it wait for others of its DAG; False when it was there already. `before` is what it waits
        for of the run before it. Safe to repeat, and to break off anywhere.

        Nothing of the run is on a list before the last step, so a run of which only a part was written never starts. `is_left` says that
        its creator is gone; raises BrokerError then while Redis is being put right.
        """
        if not creation.prepare(self.steps, run, version, before):
            return False
        reply = self.steps.call_believed("commit", {"run": run.key, "is_left": is_left or None})
        self.advance_all(items(reply["unfinished"]))
        return reply["state"] in ("running", "queued")

    def finish_preparing(self, run_key: str) -> None:
        """Complete a run whose creator vanished while writing it; one that was never announced whole is forgotten."""
        run = self.run_info(run_key)
        version = self.version(run.version) if run else None
        if run and version:
            self.create_run(run, version, is_left=True)
        self.steps.command("ZREM", keys.PREPARING, run_key)

    def advance(self, run_key: str) -> bool:
        """Continue what earlier steps of a run left over; True while there is more."""
        return bool(items(self.steps.call("advance", {"run": run_key})["unfinished"]))

    def advance_all(self, run_keys: Iterable[str]) -> None:
        """Continue these runs until nothing is left over."""
        for run_key in run_keys:
            while self.advance(run_key):
                pass

    def forget_run(self, run_key: str) -> None:
        """Remove a finished run, or one that was never committed, from Redis; its history stays in SQL."""
        at = 0
        while at >= 0:
            at = int(self.steps.plain("forget", [run_key, at, FORGET_CHUNK]))
        self.forget_cached()

    def cancel_run(self, run_key: str, by: str, how: Ending | None = None) -> str:
        """Cancel all of a run that has not ended; returns its state afterwards. Running tasks are stopped by their workers, as `how` says.

        Of a run that is being cancelled already only `how` counts.
        """
        reply = self.steps.call("cancel", {"run": run_key, "by": by, **({"how": how.json} if how else {})})
        self.advance_all(items(reply["unfinished"]))
        return str(reply["state"])

    def cancel_task(self, run_key: str, task_id: str, by: str, how: Ending | None = None) -> str:
        """Cancel one task instance, as `how` says; returns its state afterwards (still `running` until its processes are gone)."""
        reply = self.steps.call("cancel", {"run": run_key, "index": self._index(run_key, task_id), "by": by, **({"how": how.json} if how else {})})
        self.advance_all(items(reply["unfinished"]))
        return str(reply["state"])

    def clear(self, run_key: str, indices: Sequence[int], by: str, *, version: Version | None = None, stops: bool = False,
              ) -> list[int]:
        """Let these task instances run again, with new tries; returns those that cannot be cleared: they run now, or the run is being
        cancelled. With a `version` they follow that from now on, as far as it has tasks of their ids; the run's structure stays.
        With `stops` those that run are stopped, and queued again as they are when they have ended.
        """
        own = self._version_of(run_key)
        payload: dict[str, Any] = {"state": TaskState.PENDING.value, "by": by, "retries": {str(index): own.tasks[index].retries for index in indices},
                                   "stops": stops or None}
        if amended := self._amended(run_key, own, version):
            follow = [index for index in indices if own.tasks[index].task_id in amended.by_id]
            payload |= {"version": amended.sha, "rows": {str(index): rows.row_text(amended.tasks[index]) for index in follow},
                        "retries": payload["retries"] | {str(index): amended.tasks[index].retries for index in follow}}
        return self._rewrite(run_key, indices, payload)

    def _amended(self, run_key: str, own: Version, version: Version | None) -> Version | None:
        """Return what tasks of a run will follow that began as `own`, which Redis has now; None when that is what they follow already."""
        if version is None or (version.sha == own.sha and not self._read(self.connection.exists, keys.followed_key(run_key))):
            return None
        creation.keep_version(self.steps, run_key, version)
        return amend(own, version)

    def mark(self, run_key: str, indices: Sequence[int], state: TaskState, by: str) -> None:
        """Give these task instances a state by hand; running ones are stopped and get it when they end."""
        self._rewrite(run_key, indices, {"state": state.value, "by": by})

    def _rewrite(self, run_key: str, indices: Sequence[int], payload: dict[str, Any]) -> list[int]:
        reply = self.steps.call("rewrite", {"run": run_key, "indices": list(indices), **payload})
        self.advance_all(items(reply["unfinished"]))
        return [int(index) for index in items(reply["refused"])]

    def recount(self, run_key: str) -> list[str]:
        """Rebuild a run's counters from states and edges; returns in words what was wrong, nothing when all was right."""
        while True:
            reply = self.steps.call("recount", {"run": run_key})
            if not items(reply["unfinished"]):
                return [str(line) for line in items(reply["changed"])]

    # ---------------------------------------------------------------- workers

    def turn(self, *, queues: Sequence[str], wanted: int, ends: Sequence[End] = (), labels: Sequence[str] = ()) -> Turn:
        """Tell ends and claim up to `wanted` tasks, in one round trip.

        When the link breaks, the error of redis-py is raised, and the next call repeats that same turn whatever its arguments say:
        look at `Turn.ends` for the ends that an answer is about. So nothing is applied twice and no claim is lost.
        """
        was_repeated = self._unanswered is not None
        if self._unanswered is None:
            self._turns += 1
            payload = {
                "machine": self.machine, "epoch": self.epoch, "number": self._turns, "ends": self._tell(ends),
                "wanted": wanted, "queues": list(queues), "labels": list(labels) or None,
                "executions": os.urandom(14).hex(), "lease": self.lease, "graces": self._graces,
                "max_unrecorded": self.settings.broker.max_unrecorded}
            self._unanswered = (self.steps.request("turn", payload), tuple(ends), boottime())
        request, told, asked_at = self._unanswered
        # What ended "two seconds ago" when the link broke ended longer ago by now.
        reply = self.steps.send(_aged(request, boottime() - asked_at) if told and was_repeated else request)
        self._unanswered = None
        closed = str(reply.get("closed", ""))
        if closed and closed != ADMIT:
            # Nothing was done: what was told is to be told again.
            return Turn(closed=closed, asked_at=asked_at)
        return Turn(closed=closed, claims=tuple(map(Claim.read, items(reply["claims"]))), accepted=tuple(items(reply["accepted"])),
                    unfinished=tuple(items(reply["unfinished"])), ends=told, asked_at=asked_at, was_repeated=was_repeated)

    def claim_job(self, run_key: str, task_id: str, execution_id: str, *, index: int | None = None) -> Claim | str:
        """Claim the task of a job that a stock RQ worker has popped; returns the reason in words when it may not run now. `index` is its place where
        that is known.

        Repeated as long as Redis is away: given up, it would leave a claim behind that nobody knows of.
        """
        self._turns += 1
        index = self._index(run_key, task_id) if index is None else index
        reply = self.steps.call_lastingly("claim_job", {"run": run_key, "index": index, "execution": execution_id,
                                                        "lease": self.lease, "graces": self._graces, "number": self._turns})
        if "claim" not in reply:
            return str(reply["refused"])
        self.epoch = int(reply["epoch"])
        return Claim.read(reply["claim"])

    def beat(self, executions: Mapping[str, tuple[str, int, int]], *, recorded: Sequence[str] = ()) -> Beat:
        """Renew the leases of these executions ({id: (run key, index, try)}) and learn what each must do.

        What Redis holds for this worker and the beat does not name goes back to its queue, same try. `recorded` are executions of which
        an earlier answer said that the history has their ends: it will not say so again. Raises redis-py's error when the link is
        broken; a heartbeat is not repeated, the next one says it all again.
        """
        answered = self._turns if self._unanswered is None else self._turns - 1
        payload = {"machine": self.machine, "recorded": list(recorded), "epoch": self.epoch, "executions": executions, "number": answered,
                   "lease": self.lease}
        reply = self.steps.send(self.steps.request("beat", payload))
        self.advance_all(items(reply["unfinished"]))
        return Beat(closed=str(reply.get("closed", "")), cancel=tuple(items(reply["cancel"])),
                    how={name: Ending.from_json(how) for name, how in dict(reply.get("how") or {}).items()}, given_up=tuple(items(reply["given_up"])),
                    unknown=tuple(items(reply["unknown"])), recorded=tuple(items(reply["recorded"])))

    def announce_held(self, queues: Sequence[str], executions: Mapping[str, tuple[str, int, int]]) -> Announced:
        """Say what this worker holds ({id: (run key, index, try)}), ends that are not in SQL yet included, and which queues it serves.

        To be said at the start and whenever Redis asks for it. Raises BrokerError when Redis does not answer; may be repeated then.
        """
        payload = {"machine": self.machine, "queues": list(queues), "executions": executions, "lease": self.lease, "verifies": self.verifies or None}
        reply = self.steps.call("announce", payload)
        if "closed" in reply:
            return Announced(is_heard=False)
        self.epoch = int(reply["epoch"])
        # What a turn of before told is told again; what it claimed, and is not held, goes back with the next beat.
        self._unanswered = None
        self.advance_all(items(reply["unfinished"]))
        return Announced(is_heard=True, given_up=tuple(items(reply["given_up"])), unknown=tuple(items(reply["unknown"])))

    def believe(self) -> None:
        """Make sure that Redis still is the one to which this worker said what it holds; what was read before is true then.

        Raises SetBack when it was restarted, set back or emptied since, redis-py's errors when it does not answer.
        """
        if self.machine is None and self.epoch is None:
            return
        epochs = Epochs(self.connection)
        believed = self._read(epochs.believed)
        self.outside_generation = epochs.outside
        if believed != self.epoch:
            raise SetBack("its runs are put right from the history first")

    def leave(self, queues: Sequence[str]) -> None:
        """Say that this worker ends with empty hands: nobody has to wait for it when Redis loses its data."""
        if self.machine:
            left = encode({"name": self.caller, "queues": list(queues), "left": True, "verifies": self.verifies})
            self.connection.hset(keys.MACHINES, self.machine, left)

    def take_over(self, former: str, executions: Iterable[str], *, is_lost: bool) -> tuple[int, int]:
        """Follow the worker `former`, which is dead, holding these executions of it: they are ours now.

        Its other claims never started and go back to their queues; with `is_lost` they may have, and are lost. Returns how many were taken
        and how many were not. Raises BrokerError when Redis does not answer; may be repeated then.
        """
        reply = self.steps.call_believed("take_over", {"former": former, "executions": dict.fromkeys(executions, True), "lease": self.lease,
                                              "is_lost": is_lost})
        self.advance_all(items(reply["unfinished"]))
        return int(reply["taken"]), int(reply["given_back"])

    def forget_replies(self, caller: str = "") -> None:
        """Remove what Redis keeps for a repeated call of `caller`, this one by default: it ends, and repeats nothing any more."""
        caller = caller or self.caller
        self.connection.delete(keys.REPLY + caller, f"{keys.REPLY}{caller}:turn", f"{keys.REPLY}{caller}:beat")

    def wait_bell(self, queues: Sequence[str], timeout: float) -> bool:
        """Wait up to `timeout` seconds, or as long as a call may take, until there may be work on one of these queues; True when a bell rang."""
        return self._rings([keys.BELL + queue for queue in queues], timeout)

    def ring_bell(self, queue: str) -> None:
        """Ring for work on `queue` that this worker was called for and cannot take."""
        if self.connection.llen(keys.BELL + queue) == 0:
            self.connection.lpush(keys.BELL + queue, "1")

    def hint_channel(self, worker: str) -> str:
        """Return the pub/sub channel that names an execution of `worker` whose marks it should look at now."""
        return keys.HINT + worker

    def announce(self, worker: str, *, slots: int, labels: Sequence[str]) -> None:
        """Add to RQ's record of a worker what RQ does not know: its slots, its labels, its release."""
        self.connection.hset(keys.RQ_WORKER + worker, mapping={"slots": str(slots), "labels": ",".join(labels), **protocol.about()})

    def join(self) -> None:
        """Agree on the protocol before a worker registers; raises Conflict when its release cannot work with what lives here."""
        protocol.join(self.connection)

    # ---------------------------------------------------------------- gates, delays

    def set_pool(self, name: str, slots: int | None) -> None:
        """Make a pool or change its slots; None removes it."""
        self.steps.call("set_pool", {"name": name, "slots": slots})

    def move_due(self, limit: int = 500) -> Due:
        """Queue the tasks whose delay is over, and take the alarms of DAGs that ring, at most `limit` of both."""
        reply = self.steps.call("move_due", {"limit": limit})
        return Due(moved=int(reply["moved"]), ticks=tuple(items(reply["ticks"])), next=reply.get("next"))

    def set_ticks(self, upcoming: Mapping[str, datetime | None]) -> None:
        """Set the alarms of DAGs for when their next scheduled runs are due; None takes one away."""
        ticks = [[job_id(dag_id, "", ""), dag_id, f"{at.timestamp():.6f}" if at else False] for dag_id, at in upcoming.items()]
        for from_ in range(0, len(ticks), _TICKS):
            self.steps.call("set_ticks", {"ticks": ticks[from_:from_ + _TICKS]})

    def run_now(self, run_key: str, index: int, *, version: Version | None = None) -> TaskState | None:
        """Queue a task at once that waits for a retry or its next look, or is parked; returns its state before, None when Redis does not have it.

        One that asks for labels stays parked until a worker with them asks. With a `version` it follows that from now on, if that has the task.
        """
        payload: dict[str, Any] = {"run": run_key, "index": index}
        if version and self.run_exists(run_key):
            own = self._version_of(run_key)
            amended = self._amended(run_key, own, version)
            if amended and own.tasks[index].task_id in version.by_id:
                payload |= {"version": amended.sha, "row": rows.row_text(amended.tasks[index])}
        reply = self.steps.call("run_now", payload)
        self.advance_all(items(reply["unfinished"]))
        state = reply["state"]
        return TaskState(str(state)) if state else None

    def align(self, run_key: str, dues: Mapping[int, tuple[int, datetime]]) -> dict[int, tuple[datetime, datetime]]:
        """Move retries that wait, {index: (try that ended, when the next one is due)}, never before now; those of other tries stay.

        Returns {index: (when it was due, when it is due now)} of those that were moved.
        """
        told = [[index, number, str(to_micros(due))] for index, (number, due) in dues.items()]
        reply = self.steps.call("align", {"run": run_key, "dues": told})
        return {int(index): (from_micros(was), from_micros(due)) for index, was, due in items(reply["moved"])}

    def wait_wakeup(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds, or as long as a call may take, until a delay begins that may end earlier; True when that happened."""
        return self._rings([keys.WAKE], timeout)

    def _rings(self, bells: Sequence[str], timeout: float) -> bool:
        return self.connection.blpop(list(bells), timeout=min(timeout, longest_wait(self.connection))) is not None

    # ---------------------------------------------------------------- values

    def xcoms(self, run_key: str, task_ids: Iterable[str] | None = None) -> dict[str, dict[str, str]]:
        """Return {task_id: {key: JSON text}} of the run's XComs; raises RunNotFound, and SetBack as `believe` does."""
        found = self._read(status.xcoms, self.connection, run_key, self._version_of(run_key), task_ids)
        self.believe()
        return found

    def mirrored(self, known: str | None = None) -> Mirrored | None:
        """Return the stored Variables and Connections, None when their generation is the `known` one; raises SetBack as `believe` does."""
        found = Mirror(self.connection).read(known)
        self.believe()
        return found

    def push_xcom(self, run_key: str, task_id: str, key: str, value: str) -> None:
        """Keep one XCom, `value` being JSON text."""
        self.steps.call("push_xcom", {"run": run_key, "index": self._index(run_key, task_id), "key": key, "value": value})

    # ---------------------------------------------------------------- own

    @property
    def lease(self) -> int:
        """How long a lease lasts, in microseconds."""
        return int(self.settings.worker.lease.total_seconds() * 1_000_000)

    def _tell(self, ends: Sequence[End]) -> list[dict[str, Any]]:
        told = [end.told() for end in ends]
        # When Redis is away no names are asked for any more: each question would wait as long as a call may take.
        with suppress(*LINK_ERRORS):
            for end, tell in zip(ends, told, strict=True):
                if end.dag_id:
                    continue
                with suppress(RqflowError):  # Redis has it no more, or something that this worker does not run
                    run = self._runs(end.run_key)
                    tell |= {"dag": run.dag_id, "run_id": run.run_id}
                    tell["task"] = self._versions(run.version).tasks[end.index].task_id
        return told


def _aged(request: Request, seconds: float) -> Request:
    """Return a turn's request with its ends `seconds` further in the past."""
    payload = decode(request.payload)
    for tell in payload["ends"]:
        tell["ended_ago"] += seconds
    return replace(request, payload=encode(payload))
