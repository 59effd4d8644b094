from __future__ import annotations

from rq_scheduler import Scheduler as RQScheduler

from rqflow.broker import keys
from rqflow.scheduler.scheduler import Scheduler


def test_only_construction_registration_and_keys_are_inherited() -> None:
    theirs = {name for name, value in vars(RQScheduler).items() if callable(value) or isinstance(value, property)}
    assert theirs - vars(Scheduler).keys() == {"key", "pid", "register_birth", "queue_class", "job_class"}


def test_the_keys_are_those_of_rq_scheduler() -> None:
    assert Scheduler.scheduled_jobs_key == RQScheduler.scheduled_jobs_key
    assert Scheduler.redis_scheduler_namespace_prefix == RQScheduler.redis_scheduler_namespace_prefix
    assert Scheduler.scheduler_key == RQScheduler.scheduler_key
    assert Scheduler.scheduler_lock_key == keys.LEADER
