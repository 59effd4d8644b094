"""Operations that tell how all stands: what goes on now, in numbers too, and why a DAG did not run as expected."""

from __future__ import annotations

from dataclasses import dataclass

from rqflow.actions import questions, top
from rqflow.actions.questions import Answer
from rqflow.actions.top import Top
from rqflow.api.dags import OneDag, within, zone
from rqflow.api.hub import Hub
from rqflow.api.operation import Nothing, Page, about, operation
from rqflow.deploy.metrics import Metrics
from rqflow.security.roles import Role


@dataclass(frozen=True, kw_only=True, slots=True)
class ShowTop:
    """How much of it."""

    limit: int = about("At most so many running tasks, those first that have run longest.", 200)


@operation("standing.top", "GET", "/top", Role.VIEWER)
def show_top(hub: Hub, asked: ShowTop) -> Top:
    """Show what goes on now: workers, queues, and the tasks that run."""
    return top.look(hub.broker, hub.broker.workers, within(asked.limit), hub.visible_dag_ids())


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricsText:
    """Metrics as Prometheus reads them."""

    text: str


@operation("standing.metrics", "GET", "/metrics", Role.ADMIN)
def show_metrics(hub: Hub, _: Nothing) -> MetricsText:
    """Give all metrics but those of the web server's own requests; counts begin a day ago."""
    found = Metrics(hub.settings)
    try:
        return MetricsText(text=found.whole_text().decode())
    finally:
        found.close()


@dataclass(frozen=True, kw_only=True, slots=True)
class ExamineDag(OneDag):
    """Which DAG, and which task of it."""

    task_id: str | None = about("And this task of it.", None)
    tz: str = about("Zone in which times are told: UTC or Area/City.", "UTC")


@operation("dags.doctor", "GET", "/dags/{dag_id}/doctor", Role.VIEWER)
def examine_dag(hub: Hub, asked: ExamineDag) -> Page[Answer]:
    """Walk through what people ask when a DAG, or a task of it, did not run as expected, with each answer and what to do."""
    visible = hub.visible_dag_ids()
    if visible is not None:
        hub.dag(asked.dag_id)
    return Page(items=tuple(questions.ask(hub.broker, hub.engine, hub.settings, asked.dag_id, asked.task_id, viewer=zone(asked.tz), visible=visible)))
