"""What a job of stock RQ runs: the same command as everywhere else."""

from __future__ import annotations

import subprocess


def run() -> None:
    """Run `bash -c true`."""
    subprocess.run(["bash", "-c", "true"], check=True)
