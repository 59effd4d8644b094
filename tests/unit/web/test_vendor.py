"""The libraries of the page are those that vendor.toml names, with their licences, and the package has all that pages load."""

from __future__ import annotations

import configparser
import hashlib
import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3] / "rqflow"
VENDOR = ROOT / "web" / "vendor"
PACKAGES: list[dict[str, Any]] = tomllib.loads((VENDOR / "vendor.toml").read_text(encoding="utf-8"))["package"]


@pytest.mark.parametrize(("name", "digest"), [(one["to"], one["sha256"]) for package in PACKAGES for one in package["files"]])
def test_each_file_is_the_one_that_was_looked_at(name: str, digest: str) -> None:
    assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest


def test_nothing_else_is_there() -> None:
    known = {one["to"] for package in PACKAGES for one in package["files"]} | {"vendor.toml"}
    assert {path.name for path in VENDOR.iterdir() if path.is_file()} == known


def test_each_library_has_the_text_of_its_licence() -> None:
    known = {name for package in PACKAGES for name in [package["licence_file"], *package.get("also", [])]}
    assert {path.name for path in (VENDOR / "licenses").iterdir()} == known
    for name in known:
        text = (VENDOR / "licenses" / name).read_text(encoding="utf-8")
        assert re.search(r"Permission to use|Permission is hereby granted|Eclipse Public License", text), name


def test_the_package_has_all_that_pages_load() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT.parent / "setup.cfg", encoding="utf-8")
    globs = config["options.package_data"]["rqflow"].split()
    for folder in ("static", "templates", "vendor"):
        for path in (ROOT / "web" / folder).rglob("*"):
            if path.is_file():
                name = path.relative_to(ROOT).as_posix()
                # As setuptools does: a star stays within its folder.
                assert any(fnmatch(name, glob) and name.count("/") == glob.count("/") for glob in globs), f"{name} would not be installed"


def test_templates_use_icons_of_the_sprite_and_names_are_not_listed_in_vain() -> None:
    sprite = set(re.findall(r'<symbol id="([\w-]+)"', (VENDOR / "icons.svg").read_text(encoding="utf-8")))
    listed = next(package["icons"] for package in PACKAGES if package["name"] == "bootstrap-icons")
    assert sprite == set(listed)
    for path in (ROOT / "web" / "templates").rglob("*.html"):
        used = set(re.findall(r'\bicon\("([\w-]+)"', path.read_text(encoding="utf-8")))
        assert used <= sprite, path.name


def test_what_only_tests_use_is_the_file_that_was_looked_at_with_its_licence() -> None:
    folder = ROOT.parent / "tests" / "vendor"
    digest = hashlib.sha256((folder / "axe.min.js").read_bytes()).hexdigest()
    assert digest in (folder / "README.md").read_text(encoding="utf-8")
    assert "Mozilla Public License" in (folder / "axe-core.LICENSE").read_text(encoding="utf-8")
