"""The variables of templates and callables: all that Airflow's template reference names, of 1.10, 2.x and 3.x.

A context is made for each try, and most templates use one or two names of it, so each value is made when it is first asked for.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from datetime import datetime, timedelta
from typing import Any

from rqflow.dag import frame as frames
from rqflow.dag import macros, outside_views, timetable, views
from rqflow.dag.frame import Frame
from rqflow.dag.outside import connections as known_connections
from rqflow.dag.outside import variables as known_variables
from rqflow.dag.run import MANUAL, RunInfo
from rqflow.dag.version import TaskSpec, Version
from rqflow.dag.xcom_view import XComs

__all__ = ["Context", "Frame", "build", "context_of", "names"]

_DAY = timedelta(days=1)
_DATE, _DATE_NODASH, _TIME_NODASH = "%Y-%m-%d", "%Y%m%d", "%Y%m%dT%H%M%S"

#: Name -> how it is made from the frame and the context itself.
Maker = Callable[[Frame, "Context"], Any]
_MAKERS: dict[str, Maker] = {}


class Context(dict[str, Any]):
    """The variables by name; a value is made when it is first asked for."""

    def __init__(self, frame: Frame) -> None:
        """Make the variables of one try."""
        super().__init__()
        self.frame = frame

    def __missing__(self, name: str) -> Any:
        """Make a value; raises KeyError for an unknown name."""
        value = self[name] = _MAKERS[name](self.frame, self)
        return value

    def __contains__(self, name: object) -> bool:
        """Tell whether there is such a variable."""
        return super().__contains__(name) or name in _MAKERS

    def get(self, name: str, default: Any = None) -> Any:
        """Return a variable, else `default`."""
        try:
            return self[name]
        except KeyError:
            return default

    def complete(self) -> Context:
        """Make what is not made yet, so that this is an ordinary dictionary; return itself."""
        for name in _MAKERS:
            self[name]
        return self

    def __iter__(self) -> Iterator[str]:
        """Iterate over all names."""
        return super(Context, self.complete()).__iter__()

    def __len__(self) -> int:
        """Return the number of variables."""
        return super(Context, self.complete()).__len__()

    def keys(self) -> KeysView[str]:  # type: ignore[override]
        """Return all names."""
        return super(Context, self.complete()).keys()

    def values(self) -> ValuesView[Any]:  # type: ignore[override]
        """Return all values."""
        return super(Context, self.complete()).values()

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]
        """Return all names and values."""
        return super(Context, self.complete()).items()


def build(
    version: Version,
    task: TaskSpec,
    run: RunInfo,
    *,
    try_number: int = 1,
    xcoms: XComs | None = None,
    variables: Mapping[str, Any] | None = None,
    connections: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the variables for rendering one try of `task`, values from outside marked.

    `variables` {name: text} and `connections` {name: URI, JSON or fields} are those of the environment when None.
    """
    frame = Frame(
        version=version, task=task, run=run, try_number=try_number, xcoms=xcoms or XComs(),
        variables=known_variables() if variables is None else variables, connections=known_connections() if connections is None else connections,
    )  # fmt: skip
    return Context(frame)


def context_of(frame: Frame) -> Context:
    """Return the variables of `frame`."""
    return Context(frame)


def names() -> frozenset[str]:
    """Return the names of all variables."""
    return frozenset(_MAKERS)


def _define(*names: str) -> Callable[[Maker], Maker]:
    """Enter a maker under its names."""

    def enter(maker: Maker) -> Maker:
        _MAKERS.update(dict.fromkeys(names, maker))
        return maker

    return enter


def _writer(date: Maker, pattern: str) -> Maker:
    """Return the maker that writes what `date` makes by `pattern`; None stays None."""

    def write(frame: Frame, context: Context) -> str | None:
        at: datetime | None = date(frame, context)
        return None if at is None else at.strftime(pattern)

    return write


def _of_previous(attribute: str) -> Maker:
    """Return the maker of a date of the last successful run."""
    return lambda frame, _: frame.date(getattr(frame.run.previous, attribute, None))


def _define_dates() -> None:
    """Enter the names that write some date by a pattern."""
    dates: dict[str, Maker] = {
        "": lambda frame, _: frame.run.logical_date,
        "yesterday_": lambda frame, _: frame.run.logical_date - _DAY,
        "tomorrow_": lambda frame, _: frame.run.logical_date + _DAY,
        "prev_": lambda _, context: context["prev_execution_date"],
        "next_": lambda _, context: context["next_execution_date"],
    }
    for prefix, date in dates.items():
        _MAKERS[f"{prefix}ds"] = _writer(date, _DATE)
        _MAKERS[f"{prefix}ds_nodash"] = _writer(date, _DATE_NODASH)
    for name in ("END_DATE", "end_date", "latest_date"):
        _MAKERS[name] = _MAKERS["ds"]


_define_dates()


@_define("ts")
def _ts(frame: Frame, _: Context) -> str:
    return frame.run.logical_date.isoformat()


@_define("ts_nodash")
def _ts_nodash(frame: Frame, _: Context) -> str:
    return frame.run.logical_date.strftime(_TIME_NODASH)


@_define("ts_nodash_with_tz")
def _ts_nodash_with_tz(frame: Frame, _: Context) -> str:
    return frame.run.logical_date.isoformat().replace("-", "").replace(":", "")


@_define("execution_date", "logical_date")
def _logical_date(frame: Frame, _: Context) -> Any:
    return frame.date(frame.run.logical_date)


@_define("data_interval_start")
def _data_interval_start(frame: Frame, _: Context) -> Any:
    return frame.date(frame.run.data_interval_start)


@_define("data_interval_end")
def _data_interval_end(frame: Frame, _: Context) -> Any:
    return frame.date(frame.run.data_interval_end)


@_define("prev_execution_date")
def _prev_execution_date(frame: Frame, _: Context) -> Any:
    """A run started by hand stands beside the schedule: its neighbours are itself, as in Airflow."""
    if frame.run.run_type == MANUAL:
        return frame.date(frame.run.logical_date)
    return frame.date(timetable.of(frame.version).before(frame.run.logical_date))


@_define("next_execution_date")
def _next_execution_date(frame: Frame, _: Context) -> Any:
    if frame.run.run_type == MANUAL:
        return frame.date(frame.run.logical_date)
    return frame.date(timetable.of(frame.version).after(frame.run.logical_date))


def _define_previous() -> None:
    """Enter the names for the last successful run."""
    attributes = {
        "prev_data_interval_start_success": "data_interval_start",
        "prev_data_interval_end_success": "data_interval_end",
        "prev_start_date_success": "started_at",
        "prev_end_date_success": "ended_at",
        "prev_execution_date_success": "logical_date",
    }
    for name, attribute in attributes.items():
        _MAKERS[name] = _of_previous(attribute)


_define_previous()


@_define("dag_run")
def _dag_run(frame: Frame, _: Context) -> views.DagRunView:
    return views.DagRunView(frame)


@_define("run_id")
def _run_id(frame: Frame, _: Context) -> Any:
    return frame.outside(frame.run.run_id, "run_id")


@_define("dag")
def _dag(frame: Frame, _: Context) -> Any:
    return getattr(frame.operator, "own_dag", None) or frame.dag or views.DagView(frame)


@_define("task")
def _task(frame: Frame, _: Context) -> Any:
    return frame.operator or views.TaskView(frame, frame.task)


@_define("ti", "task_instance")
def _ti(frame: Frame, context: Context) -> views.TaskInstanceView:
    made = views.TaskInstanceView(frame, context["dag_run"], context["task"])
    context["ti"] = context["task_instance"] = made
    return made


@_define("task_instance_key_str")
def _task_instance_key_str(frame: Frame, context: Context) -> str:
    dag_id, task_id = frame.shown()
    return f"{dag_id}__{task_id}__{context['ds_nodash']}"


@_define("params")
def _params(frame: Frame, _: Context) -> dict[str, Any]:
    return frames.params(frame)


@_define("var")
def _var(frame: Frame, _: Context) -> outside_views.ByName:
    return outside_views.variables_view(frame)


@_define("conn")
def _conn(frame: Frame, _: Context) -> outside_views.OutsideView:
    return outside_views.connections_view(frame)


@_define("conf")
def _conf(_frame: Frame, _: Context) -> outside_views.ConfView:
    return outside_views.ConfView()


@_define("macros")
def _macros(_frame: Frame, _: Context) -> Any:
    return macros.NAMESPACE


@_define("test_mode")
def _test_mode(frame: Frame, _: Context) -> bool:
    return frame.test_mode


@_define("inlets")
def _inlets(frame: Frame, _: Context) -> list[Any]:
    return list(getattr(frame.operator, "inlets", None) or [])


@_define("outlets")
def _outlets(frame: Frame, _: Context) -> list[Any]:
    return list(getattr(frame.operator, "outlets", None) or [])


@_define("templates_dict", "exception", "map_index_template", "expanded_ti_count")
def _nothing(_frame: Frame, _: Context) -> None:
    return None


@_define("inlet_events", "outlet_events", "triggering_dataset_events", "triggering_asset_events")
def _no_events(_frame: Frame, _: Context) -> dict[str, Any]:
    return {}
