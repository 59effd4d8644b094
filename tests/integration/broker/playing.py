"""Playing a worker against the broker: claim, end, until nothing is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rqflow.broker.broker import Broker
from rqflow.broker.messages import Claim, End
from rqflow.states import TaskState


def end(claim: Claim, state: TaskState = TaskState.SUCCESS, **changes: object) -> End:
    return End(run_key=claim.run_key, index=claim.index, try_number=claim.try_number, execution_id=claim.execution_id, state=state, **changes)


def claim(broker: Broker, wanted: int = 99, queues: Sequence[str] = ("default",), labels: Sequence[str] = ()) -> list[Claim]:
    return list(broker.turn(queues=queues, wanted=wanted, labels=labels).claims)


def tell(broker: Broker, *ends: End) -> tuple[str, ...]:
    answer = broker.turn(queues=(), wanted=0, ends=ends)
    broker.advance_all(answer.unfinished)
    return answer.accepted


def play(broker: Broker, outcomes: Mapping[str, TaskState] | None = None, queues: Sequence[str] = ("default",)) -> list[str]:
    """Run everything that can run; returns the task ids in the order of their claims."""
    order: list[str] = []
    while claims := claim(broker, queues=queues):
        order += [c.task_id for c in claims]
        tell(broker, *(end(c, (outcomes or {}).get(c.task_id, TaskState.SUCCESS)) for c in claims))
    return order


def states(broker: Broker, run_key: str) -> dict[str, str]:
    return {s.task_id: s.state.value for s in broker.task_statuses(run_key)}
