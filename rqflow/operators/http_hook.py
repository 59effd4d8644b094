"""HTTP as callables and HTTP tasks speak it: Airflow's HttpHook, over requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from rqflow.dag.airflow.exceptions import AirflowException, AirflowNotFoundException
from rqflow.dag.airflow.hook import BaseHook
from rqflow.dag.outside import Connection
from rqflow.exceptions import TaskFailed

if TYPE_CHECKING:
    import requests
    from requests.auth import AuthBase

DEFAULT_CONNECTION = "http_default"
#: Seconds that a server may take to accept a connection unless `timeout` says otherwise; its answer may take as long as it takes.
_CONNECT_SECONDS = 30.0
#: What of `extra_options`, or of the extra of a Connection, is no header.
_OPTIONS = frozenset({"proxies", "timeout", "allow_redirects", "max_redirects", "verify", "cert", "stream", "check_response", "trust_env"})
#: Methods whose data is part of the URL.
_IN_URL = frozenset({"GET", "DELETE"})
_MOST_SHOWN = 300


class HttpFailed(TaskFailed, AirflowException):
    """A server did not answer, or answered with an error; `status_code` is 0 when it did not answer."""

    def __init__(self, message: str, *, status_code: int = 0, hint: str = "") -> None:
        """Keep the status code."""
        super().__init__(message, hint=hint)
        self.status_code = status_code


class HttpHook(BaseHook):
    """Requests to the server of a Connection: host, port, schema (http or https), login and password, and headers in its extra."""

    conn_name_attr: ClassVar[str] = "http_conn_id"
    default_conn_name: ClassVar[str] = DEFAULT_CONNECTION

    def __init__(self, method: str = "POST", http_conn_id: str = DEFAULT_CONNECTION, auth_type: Any = None, **_: Any) -> None:
        """Take the method and the id of a Connection; `auth_type` is made of login and password, HTTPBasicAuth unless given."""
        super().__init__()
        self.method, self.http_conn_id, self.auth_type = str(method).upper(), http_conn_id, auth_type
        self.base_url = ""

    def get_conn(self, headers: Mapping[str, Any] | None = None, extra_options: Mapping[str, Any] | None = None) -> requests.Session:
        """Return a session with what the Connection says; raises AirflowNotFoundException."""
        import requests  # It takes long to import, and few tasks need it.

        session, connection = requests.Session(), self._connection()
        if connection is not None:
            self.base_url = _base_url(connection)
            extra = connection.extra_dejson
            session.headers.update({name: str(value) for name, value in extra.items() if name not in _OPTIONS})
            session.auth = self._auth(connection)
            for name in ("verify", "cert", "max_redirects", "trust_env"):
                if name in extra:
                    setattr(session, name, extra[name])
            session.proxies.update(extra.get("proxies") or {})
        for name in ("max_redirects", "trust_env"):
            if extra_options and name in extra_options:
                setattr(session, name, extra_options[name])
        session.headers.update({name: str(value) for name, value in (headers or {}).items()})
        return session

    def url_from_endpoint(self, endpoint: str | None) -> str:
        """Return the URL of an endpoint, which may be one itself."""
        text = str(endpoint or "")
        if "://" in text:
            return text
        return f"{self.base_url}{'' if not text or text.startswith('/') or self.base_url.endswith('/') else '/'}{text}"

    def run(
        self, endpoint: str | None = None, data: Any = None, headers: Mapping[str, Any] | None = None,
        extra_options: Mapping[str, Any] | None = None, **request_kwargs: Any,
    ) -> requests.Response:  # fmt: skip
        """Return the answer; raises HttpFailed when there is none, or an error that `check_response` in extra_options does not let pass."""
        import requests  # As above.

        options = dict(extra_options or {})
        with self._session(endpoint, headers, options) as session:
            url = self.url_from_endpoint(endpoint)
            if "://" not in url:
                raise TaskFailed(f"the endpoint {url!r} is no URL", hint=f"Give the Connection {self.http_conn_id} a host.")
            name = "params" if self.method in _IN_URL else "data"
            passed = {name: options[name] for name in ("stream", "verify", "proxies", "cert", "allow_redirects") if name in options}
            try:
                answer = session.request(self.method, url, **{name: data}, timeout=options.get("timeout", (_CONNECT_SECONDS, None)),
                                         **passed, **request_kwargs)
            except requests.exceptions.RequestException as error:
                raise HttpFailed(f"{self.method} {_shown(url)}: {_why(error)}") from error
        if options.get("check_response", True):
            self.check_response(answer)
        return answer

    def check_response(self, response: requests.Response) -> None:
        """Raise HttpFailed for an answer that is an error."""
        if response.status_code >= 400:
            said = " ".join(response.text.split())[:_MOST_SHOWN]
            raise HttpFailed(f"{response.status_code}:{response.reason} is the answer to {self.method} {_shown(response.url)}",
                             status_code=response.status_code, hint=f"It says: {said}" if said else "")

    def _session(self, endpoint: str | None, headers: Mapping[str, Any] | None, options: Mapping[str, Any]) -> requests.Session:
        try:
            return self.get_conn(headers, options)
        except AirflowNotFoundException as error:
            raise TaskFailed(str(error), hint="An endpoint that is a whole URL needs none." if "://" not in str(endpoint) else "") from None

    def _connection(self) -> Connection | None:
        """Return the Connection; None when the default one does not exist: endpoints are whole URLs then."""
        try:
            return self.get_connection(self.http_conn_id)
        except AirflowNotFoundException:
            if self.http_conn_id != DEFAULT_CONNECTION:
                raise
            return None

    def _auth(self, connection: Connection) -> AuthBase | None:
        from requests.auth import HTTPBasicAuth  # As above.

        if not connection.login and self.auth_type is None:
            return None
        made: AuthBase = (self.auth_type or HTTPBasicAuth)(*([connection.login, connection.password or ""] if connection.login else []))
        return made


def _base_url(connection: Connection) -> str:
    host = connection.host or ""
    if not host:
        return ""
    url = host if "://" in host else f"{connection.schema or ('https' if connection.conn_type == 'https' else 'http')}://{host}"
    return f"{url}:{connection.port}" if connection.port else url


def _shown(url: str) -> str:
    """Return a URL without its query, which may hold what is secret."""
    return url.partition("?")[0]


def _why(error: BaseException) -> str:
    """Return why there is no answer, as the system says it."""
    import requests  # As above.

    if isinstance(error, requests.exceptions.ReadTimeout):
        return "it took too long to answer"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return "it took too long to accept the connection" if isinstance(error, requests.exceptions.Timeout) else str(error)
