"""What the file that loads does with names of airflow that rqflow does not have."""

from __future__ import annotations

from rqflow.dag.airflow.exceptions import AirflowException
from rqflow.dag.problems import Place, Problem, author_place


def message(path: str) -> str:
    """Return what is said of a name that rqflow does not have."""
    return f"{path} is not supported yet"


class Uses:
    """The notes of one load."""

    def __init__(self) -> None:
        """Begin without notes."""
        self.noted: list[Problem] = []
        #: Whether there is any stand-in at all.
        self.made = False
        #: Set when a task runs: a use is an error then.
        self.strict = False

    def note(self, path: str, place: Place | None = None) -> None:
        """Keep a note that `place`, by default the author's line that led here, uses `path`.

        Raises AirflowException in a running task.
        """
        if self.strict:
            raise AirflowException(message(path))
        problem = Problem(*(place or author_place()), message(path))
        if problem not in self.noted:
            self.noted.append(problem)


#: The notes of this process, which loads one file.
USES = Uses()
