"""One HTTP request; the text of the answer becomes the XCom."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from rqflow.dag.task import BaseOperator
from rqflow.exceptions import TaskFailed
from rqflow.operators.base import Ended, Launch, Outcome, TryJob, from_result, python_child
from rqflow.operators.http_hook import DEFAULT_CONNECTION, HttpHook
from rqflow.operators.python import keyword_arguments


class HttpOperator(BaseOperator):
    """Send one request to `endpoint`, below the host of the Connection `http_conn_id` or a whole URL, with `method`, `data` and `headers`.

    An answer of 400 or more fails the task, and so does a `response_check(response)` that is not true. The text of the answer, or what
    `response_filter(response)` makes of it, becomes the XCom.
    """

    kind: ClassVar[str] = "http"
    template_fields: Sequence[str] = ("endpoint", "data", "headers")
    field_names: ClassVar[tuple[str, ...]] = ("endpoint", "method", "data", "headers", "http_conn_id", "extra_options", "log_response")

    def __init__(
        self,
        *,
        endpoint: Any = None,
        method: str = "POST",
        data: Any = None,
        headers: Mapping[str, Any] | None = None,
        response_check: Callable[..., Any] | None = None,
        response_filter: Callable[..., Any] | None = None,
        extra_options: Mapping[str, Any] | None = None,
        request_kwargs: Mapping[str, Any] | None = None,
        http_conn_id: str = DEFAULT_CONNECTION,
        log_response: bool = False,
        auth_type: Any = None,
        deferrable: bool = False,
        **kwargs: Any,
    ) -> None:
        """Make the task; `deferrable` is taken and ignored, a request holds its slot."""
        super().__init__(**kwargs)
        self.endpoint, self.method, self.data, self.headers = endpoint, method, data or {}, headers or {}
        self.response_check, self.response_filter, self.extra_options = response_check, response_filter, extra_options or {}
        self.request_kwargs, self.http_conn_id, self.log_response, self.auth_type = request_kwargs or {}, http_conn_id, log_response, auth_type
        self.deferrable = deferrable

    @property
    def hook(self) -> HttpHook:
        """The hook for the Connection."""
        return HttpHook(self.method, self.http_conn_id, self.auth_type)

    def execute(self, context: Mapping[str, Any]) -> Any:
        """Send the request; raises HttpFailed, or TaskFailed when response_check says no."""
        self.log.info("%s %s", str(self.method).upper(), self.endpoint)
        answer = self.hook.run(self.endpoint, self.data, self.headers, self.extra_options, **self.request_kwargs)
        if self.log_response:
            self.log.info(answer.text)
        if self.response_check and not self.response_check(answer, **keyword_arguments(self.response_check, [answer], {}, context)):
            raise TaskFailed("response_check is not content with the answer")
        if self.response_filter:
            return self.response_filter(answer, **keyword_arguments(self.response_filter, [answer], {}, context))
        return answer.text

    @classmethod
    def launch(cls, fields: Mapping[str, Any], job: TryJob) -> Launch:
        """Return the start of the Python child."""
        return python_child(job, fields)

    @classmethod
    def outcome(cls, fields: Mapping[str, Any], ended: Ended, job: TryJob) -> Outcome:  # noqa: ARG003 (every operator takes the same)
        """Return what the child says in its result."""
        return from_result(ended, job)


class SimpleHttpOperator(HttpOperator):
    """HttpOperator under its name until Airflow 2."""

    kind: ClassVar[str] = "http"
