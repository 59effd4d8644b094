"""Answers every import of `airflow` and what is below it, without any airflow being installed.

A module of the shim gives the names of the table and makes a stand-in for any other. Submodules are attributes of their packages even
where nobody imported them, as `import airflow; airflow.utils.dates.days_ago(2)` needs it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from rqflow.dag.airflow.names import MODULES, NAMES
from rqflow.dag.airflow.standin import make


class ShimModule(ModuleType):
    """A module of airflow."""

    def __getattr__(self, name: str) -> Any:
        """Return a name of the table, a module of the shim, or a stand-in."""
        target = NAMES.get(self.__name__, {}).get(name)
        path = f"{self.__name__}.{name}"
        if target is not None:
            module, _, attribute = target.partition(":")
            value = getattr(importlib.import_module(module), attribute)
        elif name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        else:
            value = importlib.import_module(path) if path in MODULES else make(path)
        setattr(self, name, value)
        return value

    def __dir__(self) -> list[str]:
        """Return the names that rqflow has."""
        return sorted({*super().__dir__(), *NAMES.get(self.__name__, {})})


class ShimFinder(MetaPathFinder, Loader):
    """Finds and makes the modules of the shim."""

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:  # noqa: ARG002
        """Return a spec for airflow and everything below it."""
        if fullname != "airflow" and not fullname.startswith("airflow."):
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return an empty module."""
        return ShimModule(spec.name, f"{spec.name} of the airflow shim of rqflow.")

    def exec_module(self, module: ModuleType) -> None:
        """Say what `from … import *` takes."""
        module.__dict__["__all__"] = sorted(name for name in NAMES.get(module.__name__, {}) if not name.startswith("_"))


def install() -> None:
    """Let this process import airflow from the shim; called again, do nothing."""
    if not any(isinstance(finder, ShimFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, ShimFinder())
