"""The only place that prints: data to stdout, messages to stderr; tables for people, JSON, YAML, CSV and names for programs."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import update_wrapper
from typing import Any, NamedTuple, TextIO
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from rqflow.actions.model import duration_words
from rqflow.cli.terminal import Harmless
from rqflow.clock import UTC, utcnow
from rqflow.exceptions import UsageError

FORMATS = ("table", "wide", "json", "yaml", "csv", "name")
#: Colours of states on a terminal.
STYLES = {
    "success": "green", "running": "bright_blue", "failed": "red", "lost": "red", "upstream_failed": "yellow", "skipped": "magenta",
    "up_for_retry": "yellow", "up_for_reschedule": "cyan", "queued": "cyan", "parked": "cyan", "cancelled": "bright_black",
    "pending": "bright_black", "removed": "bright_black", "unreachable": "yellow", "cancel requested": "bright_black",
}


class Column(NamedTuple):
    """One column of a table: the key of its value in each record, its title, and whether only `-o wide` shows it."""

    key: str
    title: str
    wide: bool = False
    show: Callable[[Any], str] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Printer:
    """How this call wants its data: format, chosen fields, zone of times, colours."""

    format: str = "table"
    fields: tuple[str, ...] = ()
    zone: tzinfo = UTC
    color: str = "auto"

    @property
    def is_for_people(self) -> bool:
        """Whether a person reads it, to whom values may be put into words."""
        return self.format in {"table", "wide"}

    @property
    def shows_parts(self) -> bool:
        """Whether the parts of a thing follow it in tables of their own: for people, unless they chose fields."""
        return self.is_for_people and not self.fields

    def records(self, rows: Iterable[Mapping[str, Any]], columns: Sequence[Column]) -> None:
        """Print a list; the first column is its name. An empty list prints `[]` as JSON, and the heads as a table."""
        if self.format == "name":
            for row in rows:
                click.echo(_text(row[columns[0].key]))
            return
        found = [self._chosen(row) for row in rows]
        if self.format == "json":
            click.echo(_json(found))
        elif self.format == "yaml":
            click.echo(_yaml(found), nl=False)
        elif self.format == "csv":
            click.echo(_csv(found, self._columns(columns)), nl=False)
        else:
            self._table(found, self._columns(columns))

    def report(self, rows: Iterable[Mapping[str, Any]], columns: Sequence[Column]) -> None:
        """Print what a command has done, for programs: people were told in words."""
        if not self.shows_parts:
            self.records(rows, columns)

    def record(self, row: Mapping[str, Any], *, name: str) -> None:
        """Print one thing; `name` is the key of its name."""
        chosen = self._chosen(row)
        if self.format == "json":
            click.echo(_json(chosen))
        elif self.format == "yaml":
            click.echo(_yaml(chosen), nl=False)
        elif self.format == "name":
            click.echo(_text(row[name]))
        else:
            plain = [{"key": key, "value": value} for key, value in chosen.items() if not _is_table(value)]
            columns = [Column("key", "FIELD"), Column("value", "VALUE")]
            if self.format == "csv":
                click.echo(_csv(plain, columns), nl=False)
            else:
                self._table(plain, columns)

    def blank(self) -> None:
        """Print an empty line between two tables."""
        click.echo("")

    def check(self, known: Iterable[str]) -> None:
        """Raise UsageError when a field was chosen that is not among the `known` ones: for who starts something before it prints."""
        names = list(known)
        unknown = [name for name in self.fields if name not in names]
        if unknown:
            raise UsageError(f"--fields: there is no field {unknown[0]}", hint=f"There are: {', '.join(names)}")

    def _chosen(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        self.check(row)
        return {name: row[name] for name in self.fields} if self.fields else row

    def _columns(self, columns: Sequence[Column]) -> list[Column]:
        if self.fields:
            known = {column.key: column for column in columns}
            return [known.get(name, Column(name, name.upper())) for name in self.fields]
        return [column for column in columns if self.format in {"wide", "csv"} or not column.wide]

    def _table(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> None:
        from rich.table import Table  # here: rich takes 50 ms, which JSON and --help do not need

        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column.title, overflow="fold")
        for row in rows:
            table.add_row(*(_styled(self.cell(column, row.get(column.key))) for column in columns))
        console = self.console()
        if console.is_terminal:
            console.print(table)
        else:
            with console.capture() as capture:
                console.print(table)
            for line in capture.get().splitlines():
                click.echo(line.rstrip())

    def cell(self, column: Column, value: Any) -> str:
        """Return `value` as it stands in a table."""
        if column.show is not None:
            return column.show(value) if value is not None else ""
        if isinstance(value, datetime):
            return value.astimezone(self.zone).isoformat(timespec="seconds")
        if isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value):
            return ", ".join(value)
        return _text(value)

    def console(self, *, stderr: bool = False) -> Any:
        """Return rich's console: coloured on a terminal only (or as --color says), never truncating elsewhere."""
        from rich.console import Console  # here: see _table

        forced = {"auto": None, "always": True, "never": False}[self.color]
        stream = sys.stderr if stderr else sys.stdout
        terminal = stream.isatty()
        return Console(file=stream, force_terminal=forced, no_color=True if self.color == "never" else None, width=None if terminal else 10_000,
                       highlight=False, soft_wrap=False)


def fields_of(model: type) -> list[str]:
    """Return the names of the fields of a dataclass, which its records have too."""
    return [field.name for field in dataclasses.fields(model)]


def zone(name: str) -> tzinfo:
    """Return the time zone that --tz names. Raises UsageError."""
    if name.lower() == "local":
        return utcnow().astimezone().tzinfo or UTC
    try:
        return UTC if name.upper() == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UsageError(f"--tz: there is no time zone {name!r}", hint="Write UTC, local or a name such as Europe/Berlin.") from error


def listing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command -o and --fields, and hand it the `printer` made of them."""

    def command(*args: Any, output: str, fields: str, **kwargs: Any) -> Any:
        ctx = click.get_current_context()
        chosen = tuple(name.strip() for name in fields.split(",") if name.strip())
        printer = Printer(format=output, fields=chosen, zone=zone(ctx.obj.tz), color=ctx.obj.color)
        return ctx.invoke(function, *args, printer=printer, **kwargs)

    update_wrapper(command, function)
    formats = click.Choice(FORMATS)
    with_fields = click.option("--fields", default="", metavar="A,B,C", help="Only these fields.")(command)
    return click.option("-o", "--output", type=formats, default="table", envvar="RQFLOW_OUTPUT", help="Format of the output.")(with_fields)


def is_quiet() -> bool:
    """Tell whether -q was given."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.find_root().params.get("quiet"))


def note(text: str) -> None:
    """Say to the person on stderr what goes on; not with -q."""
    if not is_quiet():
        click.echo(text, err=True)


def problem(text: str) -> None:
    """Say to the person on stderr what is wrong."""
    click.echo(text, err=True)


def line(text: str) -> None:
    """Print one line of data."""
    click.echo(text)


def raw(data: bytes) -> None:
    """Print bytes of a log as they are: colours, broken UTF-8 and NULs included; on a terminal without what it would obey, but for colours."""
    _pass_on(sys.stdout, data)


def json_line(row: Mapping[str, Any]) -> bytes:
    """Return a record as one line of JSON, as streams print them."""
    return json.dumps(row, ensure_ascii=False, default=_text).encode() + b"\n"


def raw_note(data: bytes) -> None:
    """Pass bytes of a log on to stderr, in the same way."""
    _pass_on(sys.stderr, data)


def _pass_on(stream: TextIO, data: bytes) -> None:
    stream.flush()
    stream.buffer.write(_harmless.setdefault(stream.fileno(), Harmless()).feed(data) if stream.isatty() else data)
    stream.buffer.flush()


#: What has been passed on to terminals, by descriptor: a sequence may come in two pieces.
_harmless: dict[int, Harmless] = {}


def duration(seconds: float | None) -> str:
    """Return `seconds` as people read it: 4ms, 0.4s, 12s, 3m05s, 2h07m; empty for None."""
    return duration_words(seconds)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=_text)
    return str(value)


def _is_table(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and isinstance(value[0], Mapping)


def _styled(text: str) -> Any:
    from rich.text import Text  # here: see Printer._table

    return Text(text, style=STYLES.get(text, ""))


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=_text)


def _yaml(value: Any) -> str:
    import yaml  # here: only this format needs it

    text: str = yaml.safe_dump(json.loads(_json(value)), sort_keys=False, allow_unicode=True)
    return text


def _csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[Column]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([column.key for column in columns])
    writer.writerows([_text(row.get(column.key)) for column in columns] for row in rows)
    return out.getvalue()
