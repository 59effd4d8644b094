#!/usr/bin/env python3
"""Fetch the libraries of the web page into rqflow/web/vendor, as vendor.toml there names them. For maintainers; needs npm.

A file whose sha256 is not the one in vendor.toml is refused, and the new one printed: look at what changed, then write it there.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path

VENDOR = Path(__file__).parents[1] / "rqflow" / "web" / "vendor"


def fetch(name: str, version: str, folder: Path) -> dict[str, bytes]:
    """Return the files of a package by their path inside its tarball."""
    packed = subprocess.run(["npm", "pack", "--silent", "--pack-destination", str(folder), f"{name}@{version}"], check=True, capture_output=True,
                            text=True).stdout.split()[-1]
    with tarfile.open(folder / packed) as archive:
        return {member.name.partition("/")[2]: found.read() for member in archive if (found := archive.extractfile(member))}


def sprite(files: dict[str, bytes], names: list[str]) -> bytes:
    """Return one SVG with a <symbol> for each icon."""
    symbols = []
    for name in sorted(names):
        drawing = re.fullmatch(r'<svg [^>]*viewBox="([\d ]+)"[^>]*>(.*)</svg>', files[f"icons/{name}.svg"].decode().strip(), re.DOTALL)
        if drawing is None:
            raise SystemExit(f"icons/{name}.svg is not drawn as the others are")
        inner = re.sub(r"\s*\n\s*", "", drawing.group(2))
        symbols.append(f'<symbol id="{name}" viewBox="{drawing.group(1)}" fill="currentColor">{inner}</symbol>\n')
    return f'<svg xmlns="http://www.w3.org/2000/svg">\n{"".join(symbols)}</svg>\n'.encode()


def main() -> int:
    """Fetch everything; return 1 when something is not what vendor.toml says."""
    listed = tomllib.loads((VENDOR / "vendor.toml").read_text(encoding="utf-8"))
    wrong = 0
    for package in listed["package"]:
        with tempfile.TemporaryDirectory() as folder:
            files = fetch(package["name"], package["version"], Path(folder))
        for one in package["files"]:
            data = sprite(files, package["icons"]) if one.get("sprite") else files[one["from"]]
            digest = hashlib.sha256(data).hexdigest()
            if digest != one["sha256"]:
                sys.stderr.write(f"{package['name']}: {one['to']} has sha256 {digest}, vendor.toml says {one['sha256']}\n")
                wrong = 1
                continue
            (VENDOR / one["to"]).write_bytes(data)
        if "licence_from" in package:
            (VENDOR / "licenses" / package["licence_file"]).write_bytes(files[package["licence_from"]])
    return wrong


if __name__ == "__main__":
    sys.exit(main())
