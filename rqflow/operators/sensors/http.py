"""Waiting for a server to give the answer that is wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from rqflow.operators.http_hook import DEFAULT_CONNECTION, HttpFailed, HttpHook
from rqflow.operators.python import keyword_arguments
from rqflow.operators.sensors.base import BaseSensorOperator, PokeReturnValue

#: Seconds for each of connection and answer, unless extra_options says otherwise: a look must not hang.
_TIMEOUT = 60.0


class HttpSensor(BaseSensorOperator):
    """Send a request to `endpoint` until it is answered well, and `response_check(response)`, where given, is true.

    404, or what `response_error_codes_allowlist` names, means "not yet"; any other error fails the task.
    """

    kind: ClassVar[str] = "http_sensor"
    template_fields: Sequence[str] = ("endpoint", "request_params", "headers")
    field_names: ClassVar[tuple[str, ...]] = (
        "endpoint", "method", "request_params", "headers", "http_conn_id", "response_error_codes_allowlist", "extra_options",
        *BaseSensorOperator.field_names,
    )  # fmt: skip

    def __init__(
        self,
        *,
        endpoint: Any,
        http_conn_id: str = DEFAULT_CONNECTION,
        method: str = "GET",
        request_params: Any = None,
        request_kwargs: Mapping[str, Any] | None = None,
        headers: Mapping[str, Any] | None = None,
        response_error_codes_allowlist: Sequence[Any] | None = None,
        response_check: Callable[..., Any] | None = None,
        extra_options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Make the task."""
        super().__init__(**kwargs)
        self.endpoint, self.http_conn_id, self.method = endpoint, http_conn_id, method
        self.request_params, self.request_kwargs, self.headers = request_params or {}, request_kwargs or {}, headers or {}
        codes = ("404",) if response_error_codes_allowlist is None else response_error_codes_allowlist
        self.response_error_codes_allowlist = [str(code) for code in codes]
        self.response_check, self.extra_options = response_check, extra_options or {}

    def poke(self, context: Mapping[str, Any]) -> Any:
        """Ask once; raises HttpFailed."""
        self.log.info("%s %s", str(self.method).upper(), self.endpoint)
        options = {"timeout": _TIMEOUT, **self.extra_options}
        try:
            answer = HttpHook(self.method, self.http_conn_id).run(self.endpoint, self.request_params, self.headers, options, **self.request_kwargs)
        except HttpFailed as error:
            if str(error.status_code) not in self.response_error_codes_allowlist:
                raise
            self.log.info("%s: not yet", error.message)
            return False
        if self.response_check is None:
            return True
        found = self.response_check(answer, **keyword_arguments(self.response_check, [answer], {}, context))
        return found if isinstance(found, PokeReturnValue) else bool(found)
