"""Notifiers of Airflow 2.6 and later: objects with template fields that are given as callbacks; one that sends mail, and the class for one's own."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rqflow.dag.airflow.email import send_email
from rqflow.dag.template import Renderer

_SUBJECT = "{{ ti.dag_id }}.{{ ti.task_id }}, run {{ run_id }}: {{ ti.state }}"
_CONTENT = "<p>{{ ti.task_id }} of {{ ti.dag_id }} (run {{ run_id }}, try {{ ti.try_number }}) on {{ ti.hostname }}: {{ ti.state }} {{ reason }}</p>"


class BaseNotifier:
    """What is called with the context of a task or run: renders its `template_fields`, then calls `notify(context)`."""

    template_fields: Sequence[str] = ()
    template_ext: Sequence[str] = ()

    def __init__(self, **_: Any) -> None:
        """Take anything."""

    @property
    def log(self) -> logging.Logger:
        """The logger; its lines are kept with the callback."""
        return logging.getLogger(f"rqflow.notifier.{type(self).__name__}")

    def notify(self, context: Mapping[str, Any]) -> None:
        """Tell somebody."""
        raise NotImplementedError(f"{type(self).__name__} has no notify()")

    def render_template_fields(self, context: Mapping[str, Any]) -> None:
        """Replace the template fields by what they render to; raises TemplateError."""
        renderer = Renderer(context["ti"].version, limit=None)
        for name in self.template_fields:
            value = getattr(self, name, None)
            if value is not None:
                place = type(self).__name__
                setattr(self, name, renderer.value(value, context, task_id=place, field=name, endings=tuple(self.template_ext)))

    def __call__(self, *given: Any) -> None:
        """Be called with a context; with the five arguments of a missed sla, which become one without the names of a task."""
        if len(given) != 1:
            self.notify(dict(zip(("dag", "task_list", "blocking_task_list", "slas", "blocking_tis"), given, strict=False)))
            return
        self.render_template_fields(given[0])
        self.notify(given[0])


class SmtpNotifier(BaseNotifier):
    """Sends a mail by the worker's settings [smtp]; `smtp_conn_id` and what else is said of a server is taken and ignored."""

    template_fields = ("from_email", "to", "subject", "html_content", "files", "cc", "bcc")
    template_ext = (".html",)

    def __init__(
        self,
        to: str | Iterable[str],
        from_email: str | None = None,
        subject: str | None = None,
        html_content: str | None = None,
        files: list[str] | None = None,
        cc: str | Iterable[str] | None = None,
        bcc: str | Iterable[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Make it; without `subject` and `html_content` the mail names task, run, state and reason."""
        super().__init__(**kwargs)
        self.to, self.from_email, self.files, self.cc, self.bcc = to, from_email, files, cc, bcc
        self.subject, self.html_content = subject or _SUBJECT, html_content or _CONTENT
        self.custom_headers = kwargs.get("custom_headers")

    def notify(self, context: Mapping[str, Any]) -> None:  # noqa: ARG002 (the fields are rendered)
        """Send the mail; raises TaskFailed with what the server, or the settings, lack."""
        send_email(self.to, self.subject, self.html_content, files=self.files, cc=self.cc, bcc=self.bcc, from_email=self.from_email,
                   custom_headers=self.custom_headers)


#: Its other name, which reads like a function.
send_smtp_notification = SmtpNotifier
