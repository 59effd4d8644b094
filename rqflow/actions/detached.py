"""FILE.sig: signatures of the versions that a DAG file makes, written where the key is and put beside the file where it is loaded.

What is signed are versions, not the file's bytes: what a file makes depends on more than these. So loading it must come to the same on both machines;
where it does not, what differs is told from the digests of a version's parts, which the file has too.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rqflow.actions.survey import SIGNATURES, Report
from rqflow.dag.version import Version
from rqflow.exceptions import UsageError
from rqflow.security import keygen, sshsig

FORMAT = 1
#: Bytes that such a file may have, and parts that a message names.
LARGEST, _NAMED = 8 << 20, 5
_MEND = "sign it again with the release of rqflow, the settings and the Variables that are here"


def beside(file: Path) -> Path:
    """Return where the signatures of a DAG file are looked for."""
    return file.with_name(file.name + SIGNATURES)


def write(path: Path, versions: Sequence[Version]) -> None:
    """Write the signatures of signed versions, at one stroke. Raises UsageError when the file cannot be written."""
    entries = [{"dag_id": version.dag_id, "version": version.sha, "signatures": list(version.signatures), "parts": _parts(version)}
               for version in versions]
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        fresh.write_text(json.dumps({"format": FORMAT, "dags": entries}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        fresh.unlink(missing_ok=True)


def attach(files: Sequence[Report]) -> tuple[list[Report], list[str]]:
    """Return what was loaded with the signatures that lie beside the files, and what is to be said of signatures that do not fit."""
    notes: list[str] = []
    return [_attached(report, notes) for report in files], notes


def _attached(report: Report, notes: list[str]) -> Report:
    path = beside(report.file)
    if not path.is_file():
        return report
    try:
        entries = _read(path)
    except (OSError, ValueError) as error:
        notes.append(f"{path}: it cannot be read as what `rqflow dag sign` writes: {error}")
        return report
    return replace(report, versions=tuple(_signed(version, entries.get(version.dag_id), path, notes) for version in report.versions))


def _signed(version: Version, entry: Mapping[str, Any] | None, path: Path, notes: list[str]) -> Version:
    if entry is None:
        notes.append(f"{path}: it has no signature of {version.dag_id}; {_MEND}")
        return version
    if entry["version"] != version.sha:
        differing = _differing(entry["parts"], _parts(version))
        notes.append(f"{path}: it signs another version of {version.dag_id} than the file makes here: "
                     f"{differing or 'written by another release of rqflow'}; {_MEND}")
        return version
    data = version.json.encode()
    good = tuple(each for each in entry["signatures"] if _is_good(each, data))
    if len(good) < len(entry["signatures"]) or not good:
        notes.append(f"{path}: a signature of {version.dag_id} in it is damaged")
    return version.with_signatures((*good, *version.signatures))


def _is_good(signature: str, data: bytes) -> bool:
    try:
        return sshsig.parse(signature).namespace == keygen.NAMESPACE and keygen.is_sound(signature, data)
    except ValueError:
        return False


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """Return the entries of a file by dag_id; raises OSError, ValueError for what is none."""
    with path.open("rb") as stream:
        data = stream.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"it has more than {LARGEST} bytes")
    try:
        plain = json.loads(data)
        if plain["format"] != FORMAT:
            raise ValueError("another release of rqflow wrote it")
        found = {str(entry["dag_id"]): {"version": str(entry["version"]), "parts": {str(name): str(part) for name, part in entry["parts"].items()},
                                        "signatures": [str(each) for each in entry["signatures"]]} for entry in plain["dags"]}
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it lacks something: {error}") from error
    return found


def _parts(version: Version) -> dict[str, str]:
    """Return {part of a version: its digest}: each task, each file that travels with it, each other field."""
    plain = json.loads(version.json)
    parts = {f"task {task.get('task_id')}": task for task in plain.pop("tasks")}
    parts |= {f"file {name}": source for name, source in plain.pop("sources").items()}
    return {name: _digest(part) for name, part in {**parts, **plain}.items()}


def _differing(signed: Mapping[str, str], here: Mapping[str, str]) -> str:
    names = sorted(name for name in signed.keys() | here.keys() if signed.get(name) != here.get(name))
    said = [f"{name} ({'only here' if name not in signed else 'not here'})" if name not in signed or name not in here else name
            for name in names[:_NAMED]]
    return ", ".join(said) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "") + (" differ" if names else "")


def _digest(part: Any) -> str:
    return hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()[:12]
