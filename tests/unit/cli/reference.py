"""The page of what commands print for programs: the fields of each record, out of the code that declares them."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator

from rqflow.actions import backfill_view, connections, describe, model, pools, steering, top, variables, why, why_dag
from rqflow.actions.people.audit import Deed
from rqflow.actions.people.users import Departure
from rqflow.actions.report import TRACE, Summary
from rqflow.broker.control import QueueStatus
from rqflow.broker.status import WorkerStatus
from rqflow.cli import backfill, cancel, dag, deleting, owner, rewriting, starting, trying, user, var
from rqflow.deploy.tunnels.status import TunnelStatus
from rqflow.deploy.tunnels.trust import HostKey
from rqflow.store.dags import DagRecord
from rqflow.store.shares import OwnerMapping, Share
from rqflow.store.tokens import TokenRecord
from rqflow.store.users import UserRecord
from tests.unit.builders import a_version

#: Records -> the commands that print them, and what is added there.
RECORDS: dict[type, str] = {
    model.Run: "`run show`, `run watch`, `run start --wait`, `submit --follow`; without `tasks` in `run list`",
    model.TaskInstance: "`task show`, `task list RUN`, `run show --tasks`, and in `tasks` of a run; lists of them add `shown` (the state with its marks) and `try` (as 1/3)",
    model.Try: "`task show --try N`, and in `tries` of a task",
    model.Call: "in `callbacks` of a run and of a task",
    Summary: "`run report`",
    DagRecord: "`dag list`, with `status` (active, paused, file removed) and `last_state` (state of the newest run)",
    why.Why: "`why RUN TASK`, `why RUN`, `task why`",
    why_dag.WhyDag: "`why DAG`",
    backfill_view.Backfill: "`backfill show`, `backfill start`; without the lists of runs in `backfill list`",
    backfill_view.BackfillRun: "in `active_runs` and `failed_runs` of a backfill",
    WorkerStatus: "`worker list`, `pause`, `resume`, `drain`, `stop`; `worker show` adds `paused_since`, `paused_by`, `tasks`",
    QueueStatus: "`queue list`, `pause`, `resume`",
    steering.Held: "`queue empty`, and in `tasks` of a worker",
    pools.Pool: "`pool list`, `get`, `set`, `import`",
    variables.Variable: "`var list`, `get`",
    connections.Shown: "`conn list`, `get`",
    TunnelStatus: "`tunnel status`",
    HostKey: "`tunnel trust`",
    UserRecord: "`user list`, `add`, `edit`, `enable`",
    Departure: "`user disable`, `delete`",
    TokenRecord: "`token list`, `revoke`, with `state` (active, expired, revoked); `token create` adds `token`",
    Deed: "`audit list`",
    OwnerMapping: "`user owner list`, `set`",
    Share: "`dag share`, `unshare`",
    top.Top: "`top`",
    top.RunningTask: "in `tasks` of `top`",
}
_SAMPLE = a_version()
#: Commands -> the fields that they print, which mean the same as above.
ROWS: dict[str, tuple[str, ...]] = {
    "run start --dry-run": starting.PLANNED, "run wait, run cancel": cancel.RUN_FIELDS, "task kill, task run-now, task mark-lost": cancel.TASK_FIELDS,
    "run retry, run clear, run mark, task clear, task mark, queue requeue-failed": rewriting.FIELDS, "run delete, dag delete": deleting.FIELDS,
    "run note": ("dag_id", "run_id", "note"), "run logs, task logs (an object a line)": ("task_id", "try_number", "at", "line"),
    "run report --trace (CSV)": TRACE, "dag pause, dag unpause": dag.PAUSE_FIELDS, "dag next": tuple(column.key for column in dag.NEXT_COLUMNS),
    "dag sync": tuple(column.key for column in dag.SYNC_COLUMNS), "dag list --errors": tuple(column.key for column in dag.ERROR_COLUMNS),
    "dag show": tuple(describe.dag(_SAMPLE)), "task list DAG, and in tasks of dag show": tuple(describe.task_fields(_SAMPLE, _SAMPLE.tasks[0])),
    "dag show FILE": ("file", "dags", "errors", "warnings"),
    "dag source": ("dag_id", "version", "source"), "dag source --diff": ("dag_id", "versions", "diff"),
    "dag graph": ("dag_id", "nodes", "edges"), "dag validate": ("file", "dags", "errors", "warnings", "unsupported"),
    "dag test, task test": trying.FIELDS, "task render": ("field", "value"), "backfill start --dry-run": backfill.DATE_FIELDS,
    "backfill pause, resume, cancel": backfill.STEERED_FIELDS, "pool, var, conn export": var.EXPORT_FIELDS, "conn test": ("conn_id", "works", "message"),
    "user setup-link": user.LINK_FIELDS, "user sessions": user.SESSION_FIELDS, "user passwd, user logout": ("username", "sessions_ended"),
    "user owner delete": ("owner", "removed"), "dag chown": owner.CHOWN_FIELDS,
}


def page() -> str:
    """Return the page."""
    lines = ["<!-- Made from the code by scripts/docs: change the code, then run it. -->\n", "# What commands print for programs\n",
             "`-o json`, `yaml` and `csv` print these fields, and `--fields A,B` only some of them; so does the variable `RQFLOW_OUTPUT`. Fields are",
             "only ever added. Times are ISO 8601 in UTC, lengths of time seconds; what is not known is `null`. Lists are arrays, an empty one `[]`;",
             "what shows one thing prints one object. Messages go to stderr.\n"]
    for record, commands in RECORDS.items():
        lines += [f"## {record.__name__}\n", f"{commands}.\n", "| field | type | meaning |", "|---|---|---|"]
        lines += [f"| `{name}` | {kind} | {meaning} |" for name, kind, meaning in fields(record)]
        lines.append("")
    lines += ["## Others\n", "| command | fields |", "|---|---|"]
    lines += [f"| `{command}` | {', '.join(f'`{name}`' for name in names)} |" for command, names in ROWS.items()]
    return "\n".join(lines) + "\n"


def fields(record: type) -> Iterator[tuple[str, str, str]]:
    """Yield (name, type, meaning) of the fields of a dataclass, whose meaning is the `#:` comment before it."""
    source = textwrap.dedent(inspect.getsource(record))
    lines = source.splitlines()
    definition = ast.parse(source).body[0]
    assert isinstance(definition, ast.ClassDef)
    for node in definition.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            told = []
            at = node.lineno - 2
            while lines[at].strip().startswith("#:"):
                told.insert(0, lines[at].strip().removeprefix("#:").strip())
                at -= 1
            yield node.target.id, _kind(ast.unparse(node.annotation)), re.sub(r"\bNone\b", "null", " ".join(told)).replace("|", "\\|")


def _kind(annotation: str) -> str:
    """Return the type as JSON has it."""
    optional = annotation.removesuffix(" | None") != annotation
    plain = annotation.removesuffix(" | None")
    known = {"str": "text", "int": "integer", "float": "number", "bool": "boolean", "datetime": "time"}
    kind = known.get(plain) or ("array" if plain.startswith(("tuple", "list")) else "object" if plain.startswith(("Mapping", "dict")) else "text")
    return f"{kind}, null" if optional else kind
