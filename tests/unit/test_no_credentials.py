"""Reliability 75: nothing that is handed out has a password or a key in it; each installation makes its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: What people get.
HANDED_OUT = sorted(path for folder in ("rqflow", "conf", "systemd", "scripts", "examples") for path in (ROOT / folder).rglob("*")
                    if path.is_file() and "__pycache__" not in path.parts)
#: What a secret looks like, and words that stand for one.
SECRETS = {
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+\S{20}"),
    "a Fernet key": re.compile(r"(?<![\w+/=-])[A-Za-z0-9_-]{43}=(?![\w=])"),
    "a password in a URL": re.compile(r"\w+://[\w.-]*:(?!(?:PASSWORD|password|pw|\*+|\{|%|\.\.\.|\])|[^@\s\"']{0,3}\})[^@/\s\"'`\[\]{}]{3,}@"),
    "a password in a file": re.compile(r"^(?:smtp_password|fernet_key|requirepass|password)\s*=\s*(?!\s*$)[^\s#].*$", re.MULTILINE),
}


@pytest.mark.parametrize("what", SECRETS)
def test_r75_no_credentials_are_handed_out(what: str) -> None:
    found = []
    for path in HANDED_OUT:
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.suffix == ".py" and what == "a password in a file":
            continue  # assignments of a program, which the other patterns look at
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in SECRETS[what].finditer(text)]
    assert found == []


def test_the_patterns_know_a_secret() -> None:
    samples = {"a private key": "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA", "a Fernet key": "k = '" + "A" * 43 + "='",
               "a password in a URL": "mysql://root:airflow@localhost/x", "a password in a file": "[smtp]\nsmtp_password = airflow\n"}
    assert all(SECRETS[what].search(text) for what, text in samples.items())
