"""Write the pages that are made from the code. `scripts/docs` runs it; tests/docs fails when a page lags behind."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click

from rqflow import exceptions
from rqflow.cli.main import SUMMARIES, cli
from rqflow.dag.arguments import TASK_ARGUMENTS, TASK_KEPT
from rqflow.dag.task import BaseOperator
from rqflow.dag.trigger_rule import ALIASES, TriggerRule
from rqflow.deploy import home, metrics, supervision, units
from rqflow.exceptions import RqflowError
from rqflow.operators import registry
from rqflow.settings import SECTIONS, Settings, Tunnels, keys
from rqflow.states import RQ_STATUS, TERMINAL_STATES, TRANSITIONS, RunState, TaskState
from rqflow.tunnel import parse_tunnel
from rqflow.values import show
from rqflow.worker.environment import DAG_FOLDER
from tests.unit.cli import reference as records
from tests.unit.loading import reference as names
from tests.unit.store import reference as tables

ROOT = Path(__file__).parents[1]
MADE = "<!-- Made from the code by scripts/docs: change the code, then run it. -->\n"


def settings_page() -> str:
    """Return the reference of the settings."""
    lines = [MADE, "# Settings\n", "Read from `HOME/rqflow.cfg` (or `-c FILE`, `RQFLOW_CONFIG`), then from variables `RQFLOW__SECTION__KEY`,",
             "which win. `RQFLOW__SECTION__KEY_FILE` names a file that holds the value. An unknown key is an error.",
             "`rqflow config list` shows what is in force.\n",
             "Durations: `90s` `15m` `2h` `7d` `1h30m`. Sizes: `512` `48K` `16M` `1G`."]
    section = ""
    for name, field, _ in keys():
        if name != section:
            section = name
            lines += [f"\n## [{name}]\n", f"{inspect.cleandoc(SECTIONS[name].__doc__ or '')}\n", "| key | default | meaning |", "|---|---|---|"]
        default = f"`{show(field.default)}`" if show(field.default) else "(empty)"
        lines.append(f"| `{field.name}` | {default} | {field.metadata['help'].replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def commands_page() -> str:
    """Return the reference of the commands."""
    lines = [MADE, "# Commands\n", "Options before the command hold for all of them. Data goes to stdout, messages to stderr.",
             "`-o json` is on every list and show.\n"]
    context = click.Context(cli, info_name="rqflow")
    lines += ["## rqflow\n", *_options(cli, context)]
    for name in SUMMARIES:
        command = cli.get_command(context, name)
        assert command
        lines += _command(command, click.Context(command, parent=context, info_name=name))
    lines += ["\n## Names of Airflow 1.7\n", "Accepted, hidden from `--help`; each says its new name on stderr.\n", "| old | new |", "|---|---|"]
    lines += [f"| `rqflow {old}` | `rqflow {' '.join(new)}` |" for old, new in cli.aliases.items()]
    lines += ["\nThese take the options that they had there:\n", "| old | options |", "|---|---|"]
    for old in cli.formerly:
        command = cli.get_command(context, old)
        assert command
        options = [", ".join(parameter.opts) for parameter in command.params if isinstance(parameter, click.Option)]
        lines.append(f"| `rqflow {old}` | {_escaped(' '.join(f'`{option}`' for option in options))} |")
    return "\n".join(lines) + "\n"


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"\n## {context.command_path}\n"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"`{context.command_path} {usage}`\n"
    yield inspect.cleandoc(command.help or "").replace("\f", "") + "\n"
    yield from _options(command, context)
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            if not child.hidden:
                yield from _command(child, click.Context(child, parent=context, info_name=name))


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    rows = [record for parameter in command.params if (record := parameter.get_help_record(context))]
    if rows:
        yield "| option | meaning |\n|---|---|"
        yield from (f"| `{_escaped(option)}` | {_escaped(' '.join(text.split()))} |" for option, text in rows)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def exit_codes_page() -> str:
    """Return the reference of the exit codes."""
    classes = [cls for _, cls in inspect.getmembers(exceptions, inspect.isclass) if issubclass(cls, RqflowError)]
    rows = {
        0: "Done; for commands that wait for a run: it ended in success.", 1: "The work failed: the run or task failed; or an unexpected error.",
        6: "A DAG file that cannot be used, or a setting that is unknown, of the wrong type, or contradicts another one.",
        130: "Stopped by Ctrl-C; what runs goes on.", 143: "Stopped by SIGTERM; `worker` and `scheduler` end in good order, with 0.",
    }
    for cls in sorted(classes, key=lambda c: len(c.__mro__)):
        if cls.exit_code not in rows:
            rows[cls.exit_code] = inspect.cleandoc(cls.__doc__ or "").split("\n")[0]
    lines = [MADE, "# Exit codes\n", "| code | meaning | errors |", "|---|---|---|"]
    for code, meaning in sorted(rows.items()):
        names = ", ".join(f"`{cls.__name__}`" for cls in classes if cls.exit_code == code)
        lines.append(f"| {code} | {meaning} | {names} |")
    return "\n".join(lines) + "\n\n`rqflow task test --exit-code` ends with the exit code of the task itself.\n"


def metrics_page() -> str:
    """Return the reference of the metrics."""
    kinds = {metrics.GAUGE: "gauge", metrics.COUNTER: "counter", metrics.SUMMARY: "summary", metrics.HISTOGRAM: "histogram"}
    lines = [MADE, "# Metrics\n", "What `/metrics` of the web server gives to Prometheus, and `rqflow metrics` prints. Durations are in seconds.",
             "A summary has `_sum` and `_count`, a histogram `_bucket` too. `task` is empty unless `metrics.task_label` is true.\n",
             "| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for name, about in {**metrics.METRICS, **metrics.OF_REQUESTS}.items():
        lines.append(f"| `{name}` | {kinds[about.kind]} | {' '.join(f'`{label}`' for label in about.labels)} | {_escaped(about.text)} |")
    return "\n".join(lines) + "\n"


def states_page() -> str:
    """Return the explanation of the states, with the diagram of the table."""
    source = inspect.getsource(TaskState)
    lines = [MADE, "# States\n", "## Task instances\n", "| state | meaning | status of the RQ job |", "|---|---|---|"]
    for state, meaning in _documented(source):
        lines.append(f"| `{state}` | {meaning} | {RQ_STATUS.get(TaskState(state), 'deleted')} |")
    lines += ["\nWhat may follow what, until the end:\n", "```mermaid", "stateDiagram-v2", f"    [*] --> {TaskState.PENDING.value}"]
    lines += [f"    {old.value} --> {new.value}" for old, news in TRANSITIONS.items() if old not in TERMINAL_STATES for new in sorted(news)]
    lines += ["```\n", "After the end, which only clear, mark and (for `lost`) the task's `on_lost` undo:\n", "| state | may become |", "|---|---|"]
    lines += [f"| `{old.value}` | {', '.join(f'`{new.value}`' for new in sorted(news)) or 'nothing'} |" for old, news in TRANSITIONS.items()
              if old in TERMINAL_STATES]
    lines += ["\n## Runs\n", "| state | meaning |", "|---|---|"]
    lines += [f"| `{state}` | {meaning} |" for state, meaning in _documented(inspect.getsource(RunState))]
    return "\n".join(lines) + "\n"


def _documented(source: str) -> list[tuple[str, str]]:
    """Return (value, meaning) of the members of an enum, whose meaning is the `#:` line above each."""
    return [(value, " ".join(meaning.replace("#:", "").split())) for meaning, value in re.findall(r'((?:    #:[^\n]*\n)+)    \w+ = "(\w+)"', source)]


def operators_page() -> str:
    """Return the reference of operators and trigger rules."""
    lines = [MADE, "# Operators and trigger rules\n", "## Operators\n", "| kind | class | what it does |", "|---|---|---|"]
    for kind, operator in registry.OPERATORS.items():
        lines.append(f"| `{kind}` | `{operator.__name__}` | {_escaped(_first_paragraph(operator))} |")
    lines += ["\nArguments of each, beyond those of every task:\n"]
    for operator in registry.OPERATORS.values():
        lines.append(f"- `{operator.__name__}`: {', '.join(f'`{name}`' for name in _own_arguments(operator)) or 'none'}")
    lines += ["\nArguments of every task: " + ", ".join(f"`{name}`" for name in _task_arguments()) + ".\n"]
    lines += [f"A task with `files` finds them below the folder that the variable `{DAG_FOLDER}` names, as they stand beside the DAG file.\n"]
    lines += ["## Trigger rules\n", "When the states of its upstream tasks let a task run. `lost` and `cancelled` count as failed.\n"]
    lines += ["| rule | it runs when |", "|---|---|"]
    lines += [f"| `{rule}` | {meaning} |" for rule, meaning in _documented(inspect.getsource(TriggerRule))]
    lines += ["\nOlder names: " + ", ".join(f"`{old}` for `{rule.value}`" for old, rule in ALIASES.items()) + "."]
    return "\n".join(lines) + "\n"


def _first_paragraph(cls: type) -> str:
    return " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())


def _own_arguments(operator: type) -> list[str]:
    """Return the arguments of an operator, those of the operator that it is made of included, without those of every task."""
    classes = [cls for cls in operator.__mro__ if issubclass(cls, BaseOperator) and cls is not BaseOperator]
    found = (name for cls in reversed(classes) if "__init__" in vars(cls) for name in inspect.signature(vars(cls)["__init__"]).parameters)
    return [name for name in dict.fromkeys(found) if name not in {"self", "kwargs", "args"}]


def _task_arguments() -> list[str]:
    return sorted({"task_id", "dag", "task_group", "doc_md", "pre_execute", "post_execute", *set(TASK_ARGUMENTS).difference(TASK_KEPT)})


def supervised() -> str:
    """Return what `rqflow up` writes for a home that has a tunnel."""
    line = "-L rqflow@hub.example redis"
    found = Settings(home=Path("/home/lab/rqflow"), tunnels=Tunnels(named={"hub": parse_tunnel("hub", line)}, lines={"hub": line}))
    return supervision.configuration(found, is_root=False).replace(
        "anew each time.", "anew each time, into the state folder. This one is of a home with a tunnel `hub`; for a\n"
        "; supervisord that runs already take rqflow.conf, which `rqflow service print --supervisor` prints.", 1).lstrip()


def pages() -> dict[Path, str]:
    """Return {path: text} of every generated file."""
    docs = ROOT / "docs"
    return {
        ROOT / "conf" / "rqflow.cfg": home.sample(),
        docs / "reference" / "settings.md": settings_page(),
        docs / "reference" / "commands.md": commands_page(),
        docs / "reference" / "exit-codes.md": exit_codes_page(),
        docs / "reference" / "metrics.md": metrics_page(),
        docs / "reference" / "json.md": records.page(),
        docs / "reference" / "operators.md": operators_page(),
        **{ROOT / "systemd" / name: units.rendered(name, units.SYSTEM) for name in units.UNITS},
        ROOT / "conf" / units.SUPERVISOR: units.rendered(units.SUPERVISOR, units.SYSTEM),
        ROOT / "conf" / "supervisord.conf": supervised(),
        docs / "reference" / "airflow-names.md": names.page(),
        docs / "reference" / "database.md": tables.page(),
        docs / "explanation" / "states.md": states_page(),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
