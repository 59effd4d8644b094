"""Mail sent by a task, from the worker on which it runs, by its settings [smtp]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from rqflow.dag.airflow.email import send_email
from rqflow.dag.problems import report
from rqflow.dag.task import BaseOperator
from rqflow.operators.base import Ended, Launch, Outcome, TryJob, from_result, python_child


class EmailOperator(BaseOperator):
    """Send a mail with `subject` and `html_content` to `to`, which is text with commas or semicolons between addresses, or a list.

    `html_content` is a template, or the name of a template file that ends in .html. `files` are paths, on the worker, of what is attached.
    The mail server is that of the worker's settings; conn_id, mime_subtype and mime_charset are taken and ignored.
    """

    kind: ClassVar[str] = "email"
    template_fields = ("to", "subject", "from_email", "html_content", "files", "cc", "bcc")
    template_ext = (".html",)
    field_names: ClassVar[Sequence[str]] = ("custom_headers",)

    def __init__(
        self,
        *,
        to: Any = None,
        subject: str = "",
        html_content: str = "",
        files: Any = None,
        cc: Any = None,
        bcc: Any = None,
        from_email: str | None = None,
        mime_subtype: str = "mixed",
        mime_charset: str = "utf-8",
        conn_id: str | None = None,
        custom_headers: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Make the task."""
        super().__init__(**kwargs)
        self.to, self.subject, self.html_content, self.files = to, subject, html_content, files
        self.cc, self.bcc, self.from_email = cc, bcc, from_email
        self.mime_subtype, self.mime_charset, self.conn_id, self.custom_headers = mime_subtype, mime_charset, conn_id, custom_headers
        if not to:
            report(f"task {self.task_id}: {type(self).__name__} needs to, the address to send to", self.origin)

    def source_files(self) -> tuple[str, ...]:
        """Return what must travel: not the attachments, which are on the worker."""
        return super().source_files() if self.is_authored else ()

    @classmethod
    def launch(cls, fields: Mapping[str, Any], job: TryJob) -> Launch:
        """Return the start of the Python child."""
        return python_child(job, fields)

    @classmethod
    def outcome(cls, fields: Mapping[str, Any], ended: Ended, job: TryJob) -> Outcome:  # noqa: ARG003 (every operator takes the same)
        """Return what the child says in its result."""
        return from_result(ended, job)

    def execute(self, context: Mapping[str, Any]) -> None:  # noqa: ARG002 (every operator takes the same)
        """Send the mail."""
        send_email(self.to, self.subject, self.html_content, files=self.files, cc=self.cc, bcc=self.bcc, from_email=self.from_email,
                   custom_headers=self.custom_headers)
