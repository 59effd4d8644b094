"""The sources of a version as files again, for a process that loads them."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from rqflow.dag.template_files import bytes_of
from rqflow.dag.version import Version
from rqflow.exceptions import ConfigError

#: The names within the folder that `unpack` makes.
SOURCES, VERSION = "sources", "version.json"


def unpack(version: Version, folder: Path) -> None:
    """Write the sources of `version` below SOURCES, and its own JSON as VERSION, in the new `folder`.

    Raises OSError, and ConfigError for a source that does not lie below the DAG's folder.
    """
    folder.mkdir(parents=True, mode=0o700)
    root = folder / SOURCES
    root.mkdir()
    for name, content in version.sources.items():
        path = root / name
        if not path.resolve().is_relative_to(root.resolve()):
            raise ConfigError(f"{version.dag_id}: the source {name!r} lies outside of the DAG's folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes_of(content))
    (folder / VERSION).write_text(version.json, encoding="utf-8")


def dag_folder(version: Version, folder: Path) -> Path:
    """Return the folder of the DAG file where `version` is unpacked in `folder`."""
    return folder / SOURCES / PurePosixPath(version.file).parent
