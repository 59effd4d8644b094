"""XComs of a run as a task sees them: pulled when asked for, pushed ones kept until the try ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

RETURN_VALUE = "return_value"
MAX_BYTES = 48 * 1024

#: Gives {task_id: {key: JSON text}} of some tasks of the run, or of all.
Fetch = Callable[[Collection[str] | None], Mapping[str, Mapping[str, str]]]


def _nothing(_task_ids: Collection[str] | None) -> Mapping[str, Mapping[str, str]]:
    return {}


class XComs:
    """The XComs of one run; each task's are fetched once."""

    def __init__(self, fetch: Fetch = _nothing) -> None:
        """Fetch by `fetch`."""
        self._fetch = fetch
        self._known: dict[str, dict[str, Any]] = {}
        self._all = False
        #: What this try pushed: {key: JSON text}.
        self.pushed: dict[str, str] = {}

    @classmethod
    def of(cls, texts: Mapping[str, Mapping[str, str]]) -> XComs:
        """Return the XComs {task_id: {key: JSON text}}."""
        return cls(lambda _task_ids: texts)

    @classmethod
    def of_values(cls, values: Mapping[str, Mapping[str, Any]]) -> XComs:
        """Return the XComs {task_id: {key: value}}."""
        return cls.of({task_id: {key: json.dumps(value) for key, value in pairs.items()} for task_id, pairs in values.items()})

    def push(self, task_id: str, key: str, value: Any) -> None:
        """Keep `value` as an XCom of the task that this try is of.

        Raises TypeError for what JSON does not have, ValueError for what is too long.
        """
        text = to_text(value)
        self.pull(task_id)
        self._known.setdefault(task_id, {})[key] = json.loads(text)
        self.pushed[key] = text

    def pull(self, task_id: str, key: str | None = RETURN_VALUE, default: Any = None) -> Any:
        """Return the value that a task pushed under `key` (None: its last one under any), else `default`."""
        if task_id not in self._known and not self._all:
            self._learn(self._fetch([task_id]))
            self._known.setdefault(task_id, {})
        return _last([self._known.get(task_id, {})], key, default)

    def pull_any(self, key: str | None = RETURN_VALUE, default: Any = None) -> Any:
        """Return the value that some task pushed under `key` (None: under any), the last one's when there are several, else `default`."""
        if not self._all:
            self._learn(self._fetch(None))
            self._all = True
        return _last(self._known.values(), key, default)

    def _learn(self, texts: Mapping[str, Mapping[str, str]]) -> None:
        """Take in what is not known yet: of this task itself, what it pushed in the meantime counts."""
        for task_id, values in texts.items():
            self._known[task_id] = self._known.pop(task_id, {}) or {key: json.loads(text) for key, text in values.items()}


def _last(known: Iterable[Mapping[str, Any]], key: str | None, default: Any) -> Any:
    found = [value for values in known for name, value in values.items() if key in (None, name)]
    return found[-1] if found else default


def to_text(value: Any) -> str:
    """Return `value` as the JSON text of an XCom: dates as ISO 8601, tuples as lists, sets sorted.

    Raises TypeError for what JSON does not have, ValueError for what is too long.
    """
    text = json.dumps(value, default=_encode, ensure_ascii=False)
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise ValueError(f"an XCom holds at most {MAX_BYTES // 1024} KB; write larger results to a file and push its path")
    return text


def _encode(value: Any) -> Any:
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")
