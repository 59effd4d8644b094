"""Removes the folders of tries under other accounts, in the background and several at a time: each time a process is started."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from rqflow import logs
from rqflow.worker.accounts import Account, NoSuchAccount

logger = logging.getLogger(__name__)


class Removals:
    """What is to be removed. The thread that does it ends when nothing is left to do; a worker that ends waits for it."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._lock = threading.Lock()
        self._folders: dict[Account, list[Path]] = {}
        self._is_busy = False

    def add(self, account: Account, folder: Path) -> None:
        """Have a folder removed under its account."""
        with self._lock:
            self._folders.setdefault(account, []).append(folder)
            if self._is_busy:
                return
            self._is_busy = True
        threading.Thread(target=self._work, name="removals").start()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._folders:
                    self._is_busy = False
                    return
                account, folders = self._folders.popitem()
            try:
                left = account.ask("remove", folders=list(map(str, folders)))["left"]
                why = ""
            except NoSuchAccount as error:
                left, why = folders, f": {error.message}"
            if left:
                logger.warning("left over by %s: %s%s", account.name, ", ".join(map(str, left)), why, extra=logs.context("not_removed"))
