"""The command line's entry: global options, lazily imported commands, and the one place where errors become exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click

from rqflow import runtime
from rqflow.cli import output
from rqflow.cli.lazy import LazyGroup
from rqflow.exceptions import RqflowError

#: Command -> module:attribute that is imported when the command is used; the first ones are what people come for.
COMMANDS: dict[str, str] = {
    "submit": "rqflow.cli.submit:submit",
    "up": "rqflow.cli.up:up",
    "down": "rqflow.cli.up:down",
    "restart": "rqflow.cli.up:restart",
    "status": "rqflow.cli.up:status",
    "dag": "rqflow.cli.dag:dag",
    "run": "rqflow.cli.run:run",
    "task": "rqflow.cli.task:task",
    "backfill": "rqflow.cli.backfill:backfill",
    "why": "rqflow.cli.why:why_",
    "worker": "rqflow.cli.worker:worker",
    "scheduler": "rqflow.cli.scheduler:scheduler",
    "tunnel": "rqflow.cli.tunnel:tunnel",
    "webserver": "rqflow.cli.webserver:webserver",
    "open": "rqflow.cli.opening:open_",
    "service": "rqflow.cli.service:service",
    "top": "rqflow.cli.top:top",
    "queue": "rqflow.cli.queue:queue",
    "pool": "rqflow.cli.pool:pool",
    "var": "rqflow.cli.var:var",
    "conn": "rqflow.cli.conn:conn",
    "sla": "rqflow.cli.sla:sla",
    "notice": "rqflow.cli.notice:notice",
    "user": "rqflow.cli.user:user",
    "token": "rqflow.cli.token:token",
    "audit": "rqflow.cli.audit:audit",
    "db": "rqflow.cli.db:db",
    "config": "rqflow.cli.config:config",
    "init": "rqflow.cli.init:init",
    "doctor": "rqflow.cli.doctor:doctor_",
    "health": "rqflow.cli.health:health_",
    "metrics": "rqflow.cli.webserver:metrics",
    "info": "rqflow.cli.info:info",
    "version": "rqflow.cli.info:version",
    "python": "rqflow.cli.python:python",
}
#: One line for each in --help, so that --help imports none of them.
SUMMARIES: dict[str, str] = {
    "submit": "Check and register the DAGs of a file; run them with --run.",
    "up": "Start the services of this machine, and keep them running.",
    "down": "End the services of this machine; tasks go on.",
    "restart": "End and start the services of this machine; tasks go on.",
    "status": "Show the services of this machine.",
    "dag": "Validate, list, show, pause and test DAGs; when their next runs start.",
    "run": "Start, list, show, wait for, retry and cancel runs; read their logs.",
    "task": "List, show, clear, mark, render and test tasks; read their logs.",
    "backfill": "Run past dates of a DAG; list, show, pause, resume and cancel that.",
    "why": "Say why a task does not run, or no run of a DAG starts.",
    "worker": "Run tasks (in the foreground); list, pause and stop workers.",
    "scheduler": "Run the hub: schedules, delayed retries, history, log archive (in the foreground).",
    "tunnel": "Keep SSH tunnels to other machines (in the foreground); show how they are.",
    "webserver": "Serve the page, the REST API, health and metrics over HTTP (in the foreground).",
    "open": "Open the page in a browser, here or of a hub that is reached by ssh.",
    "service": "Let the services start with the machine; print files for systemd or supervisord.",
    "top": "Watch workers, queues and running tasks.",
    "queue": "List, pause and empty queues; run again what has failed there.",
    "pool": "List and change pools.",
    "var": "List, show and change Variables.",
    "conn": "List, show, change and test Connections.",
    "sla": "List the tasks that did not end in time.",
    "notice": "List, show and retry the messages to people; test the mail server.",
    "user": "List, add, change and disable people; links to set a password; owners of DAG files.",
    "token": "Make, list and revoke tokens for programs.",
    "audit": "List what people did.",
    "db": "Upgrade, check, clean, back up, restore and reset the database.",
    "config": "Show the settings.",
    "init": "Make a home with a configuration file and a first DAG.",
    "doctor": "Check this installation, or why a DAG did not run as expected; with what to do.",
    "health": "Tell whether Redis, database, scheduler, workers and web server live.",
    "metrics": "Print all metrics for Prometheus.",
    "info": "Show versions, paths and back ends.",
    "version": "Show the version.",
    "python": "Run a Python file with Airflow's imports understood.",
}
#: Names of Airflow 1.7, accepted and hidden.
ALIASES: dict[str, tuple[str, ...]] = {
    "initdb": ("db", "upgrade"),
    "upgradedb": ("db", "upgrade"),
    "resetdb": ("db", "reset"),
}
#: The same, where options of then choose what is done.
FORMERLY: dict[str, str] = {
    "redis": "rqflow.cli.redis:redis",
    "variables": "rqflow.cli.formerly:variables_",
    "connections": "rqflow.cli.formerly:connections_",
    "list_dags": "rqflow.cli.airflow17:list_dags",
    "list_tasks": "rqflow.cli.airflow17:list_tasks",
    "pause": "rqflow.cli.airflow17:pause",
    "unpause": "rqflow.cli.airflow17:unpause",
    "trigger_dag": "rqflow.cli.airflow17:trigger_dag",
    "clear": "rqflow.cli.airflow17:clear",
    "dag_state": "rqflow.cli.airflow17:dag_state",
    "task_state": "rqflow.cli.airflow17:task_state",
    "task_failed_deps": "rqflow.cli.airflow17:task_failed_deps",
    "render": "rqflow.cli.airflow17:render",
    "test": "rqflow.cli.airflow17:test",
    "delete_dag": "rqflow.cli.airflow17:delete_dag",
}


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        from importlib.metadata import version  # here: takes 20 ms that --help does not need

        output.line(f"rqflow {version('rqflow')}")
        ctx.exit()


@click.group(cls=LazyGroup, commands=COMMANDS, summaries=SUMMARIES, aliases=ALIASES, formerly=FORMERLY, context_settings={
    "help_option_names": ["-h", "--help"], "auto_envvar_prefix": "RQFLOW_CLI", "max_content_width": 120,
})
@click.option("--home", type=click.Path(path_type=Path), help="Folder of configuration and DAGs (RQFLOW_HOME; ~/rqflow).")
@click.option("-c", "--config", "file", type=click.Path(path_type=Path, dir_okay=False), help="Configuration file (RQFLOW_CONFIG; HOME/rqflow.cfg).")
@click.option("--server", envvar="RQFLOW_SERVER", metavar="URL", default="",
              help="Ask the hub whose web server this is (RQFLOW_SERVER), with the token in RQFLOW_TOKEN.")
@click.option("-v", "--verbose", count=True, help="Say more; with it a bug shows its traceback.")
@click.option("-q", "--quiet", is_flag=True, help="Say only what went wrong.")
@click.option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", help="Colours; NO_COLOR and FORCE_COLOR are heeded.")
@click.option("--no-input", is_flag=True, help="Never ask; fail and say which option is missing.")
@click.option("--tz", default="UTC", metavar="ZONE", help="Zone of the times shown: UTC, local or Area/City.")
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
@click.pass_context
def cli(ctx: click.Context, /, home: Path | None, file: Path | None, server: str, verbose: int, quiet: bool, color: str, no_input: bool,
        tz: str) -> None:
    """Run DAGs of bash tasks on many machines, by Redis queues.

    `rqflow submit dag.py --run --follow` runs a DAG file here and now; nothing has to be set up before.
    """
    from rqflow.cli.app import App  # here: imports the settings, which --help does not need

    ctx.obj = App(home=home, file=file, verbosity=-1 if quiet else verbose, color=color, may_ask=not no_input, tz=tz, server=server)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code (table in docs/reference/exit-codes.md)."""
    words = list(sys.argv[1:] if args is None else args)
    _open_closed_streams()
    runtime.collect_rarely()
    try:
        with runtime.heeding_interrupts():
            result = cli.main(args=words, prog_name="rqflow", standalone_mode=False)
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except RqflowError as error:
        output.problem(f"rqflow: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return _pipe_closed()
    except Exception as error:  # noqa: BLE001 - the edge: whatever arrives here is a bug, and is written down
        from rqflow.cli.bug import report  # here: only needed when something is wrong with us

        return report(error, words)
    return result if isinstance(result, int) else 0


def _open_closed_streams() -> None:
    """Let what is printed go nowhere where stdout or stderr was closed, and not into the file that is opened next and gets its number."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - must stay open until the process ends
            with suppress(OSError):
                os.dup2(getattr(sys, name).fileno(), number)


def _pipe_closed() -> int:
    """Whoever read our output has ended (`rqflow … | head`): end quietly, without Python's own complaint at exit."""
    sys.stdout = open("/dev/null", "w", encoding="utf-8")  # noqa: SIM115 - must stay open until the process ends
    return 1


if __name__ == "__main__":
    code = main()
    # A Ctrl-C that passed through the exec of some text, as dataclasses are made by, was noted as unhandled by the interpreter, which under `-m`
    # would end by SIGINT instead of our code; the next exec has it forget that.
    exec("")  # noqa: S102
    sys.exit(code)
