"""What our processes ask of their Python."""

from __future__ import annotations

import ctypes
import gc
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

#: Objects that are made before the collector looks for cycles among them, and how many such looks go before it looks at older ones.
_YOUNG, _MIDDLE, _OLD = 50_000, 20, 50
#: Options of glibc's malloc (malloc.h): arenas; bytes from which on a block is given back at once; free bytes at the end that are kept.
_MALLOC = {-8: 2, -3: 1 << 18, -1: 1 << 20}
#: The same for servers.
_SERVING, _OFTEN = 10_000, 5
#: Seconds after which a thread that computes lets another one of its process go on.
_TURN_SECONDS = 0.001
#: Seconds after which a Ctrl-C that came at a moment in which Python can only ignore it comes again.
_AGAIN_SECONDS = 0.02


def collect_rarely() -> None:
    """Look for cycles less often than Python does by itself: to be called before most is imported, a tenth of whose time goes there."""
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)


def spare_memory() -> None:
    """Let freed memory go back to the system soon: for a server of many threads that makes pages of megabytes and keeps none of them.

    Without this each thread has an arena of its own, and after the first large page the C library keeps what large ones took. Does nothing where
    the C library has no such options.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in _MALLOC.items():
            mallopt(option, value)


def serve() -> None:
    """Let what was imported stay for good, as `settle` does, for a process that works for people all day.

    Garbage is looked for oftener: templates leave circles behind that hold all that a page was made of, 15 MB for a run of 10,000 tasks.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_SERVING, _OFTEN, _OFTEN)


def settle() -> None:
    """Let what is here now stay for good: to be called once, when all is imported and before work begins.

    Looking for cycles among all that was imported takes some 20 ms, in which no task begins. The thread that begins tasks waits no longer
    than a millisecond for one that sends logs or records.
    """
    gc.collect()
    gc.freeze()
    collect_rarely()
    sys.setswitchinterval(_TURN_SECONDS)


@contextmanager
def heeding_interrupts() -> Iterator[None]:
    """Have a KeyboardInterrupt heeded in the block that was raised while an object was finalized: its signal comes again a moment later.

    Python can only print it as ignored (sys.unraisablehook), and who pressed Ctrl-C waits. Its class may say of which `number` the signal was.
    """
    before = sys.unraisablehook

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            before(unraisable)
            return
        number, main = getattr(unraisable.exc_type, "number", signal.SIGINT), threading.main_thread().ident
        again = threading.Timer(_AGAIN_SECONDS, signal.pthread_kill, (main, number))
        again.daemon = True
        again.start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
