"""Run a module as a program, and note in which functions its CPU time goes: `python -m benchmarks.sampled [--main] FILE MODULE ARGUMENT...`

SIGUSR2 begins it, a second one ends it, a third begins anew. At each end FILE gets, for each thread, its CPU seconds and how often which
function was seen, as JSON.

The kernel's profiling timer ticks when the process has used CPU time. At each tick a look is taken at the stack of the thread that has
used most since the last one. Nothing is slowed down but by the looks themselves, some hundredths.

The looks are taken by a thread of their own, which the timer's signal wakes; with --main they are taken by the signal's handler, which
sees the main thread alone: for a program that has the wake-up descriptor of signals for itself, as the shepherd does.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

#: Seconds of CPU between two looks: the kernel's own ticks are 1 to 10 ms. For how long a thread may keep the interpreter from the looks.
EVERY, SWITCH = 0.002, 0.0001
#: Functions of a thread that are kept, and those that only start programs and threads.
MOST = 400
FRAMES_OF_STARTS = ("threading:", "runpy:", "benchmarks.sampled:")
ROOT = f"{Path(__file__).parents[1]}/"


@dataclass(slots=True)
class Thread:
    """What was seen of one thread: its own functions at the top of the stack, and all that were on it."""

    name: str
    #: What its clock showed at the last look; seconds since the begin.
    now: float
    seconds: float = 0.0
    looks: int = 0
    own: Counter[str] = field(default_factory=Counter)
    with_called: Counter[str] = field(default_factory=Counter)

    def look(self, frame: FrameType | None) -> None:
        """Count a stack."""
        self.looks += 1
        while frame is not None and frame.f_globals is globals():
            frame = frame.f_back  # the handler of the tick itself
        seen = set()
        if frame is not None:
            self.own[_where(frame)] += 1
        while frame is not None:
            where = _where(frame)
            if not where.startswith(FRAMES_OF_STARTS):
                seen.add(where)
            frame = frame.f_back
        self.with_called.update(seen)


class Sampler:
    """Counts stacks between one SIGUSR2 and the next."""

    def __init__(self, path: Path) -> None:
        """Write to `path` at the end."""
        self.threads: dict[int, Thread] = {}
        self._path = path
        self._own = 0
        self._counts = False
        signal.signal(signal.SIGUSR2, self._toggle)

    def by_thread(self) -> None:
        """Look from a thread of our own, at each tick."""
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(reader, True)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGPROF, lambda *_: None)

        def watch() -> None:
            self._own = threading.get_ident()
            while os.read(reader, 4096):
                if self._counts:
                    self.look()

        threading.Thread(target=watch, daemon=True).start()

    def by_handler(self) -> None:
        """Look from the handler of the signal, at each tick."""
        signal.signal(signal.SIGPROF, lambda _, frame: self.look(frame))

    def _toggle(self, *_: object) -> None:
        self._counts = not self._counts
        if self._counts:
            self.threads.clear()
            self._used()
        # A child inherits no timer, so it is set where it is needed.
        signal.setitimer(signal.ITIMER_PROF, EVERY * self._counts, EVERY * self._counts)
        if not self._counts:
            self._used()
            self.write()

    def _used(self) -> dict[int, float]:
        """Note what each thread has used by now; return what it used since the last time."""
        used = {}
        for ident, stack in sys._current_frames().items():  # noqa: SLF001 (there is no other name for it)
            if ident == self._own:
                continue
            # A thread that is among the frames lives as long as we have the interpreter.
            now = time.clock_gettime(time.pthread_getcpuclockid(ident))
            thread = self.threads.setdefault(ident, Thread(_name(stack), now))
            used[ident] = now - thread.now
            thread.seconds, thread.now = thread.seconds + used[ident], now
        return used

    def look(self, frame: FrameType | None = None) -> None:
        """Look at the thread that has worked most since the last look; `frame` is its stack where it is the main thread and known."""
        used = self._used()
        busiest = max(used, key=lambda ident: used[ident], default=0)
        if used.get(busiest):
            self.threads[busiest].look(frame or sys._current_frames().get(busiest))  # noqa: SLF001

    def write(self) -> None:
        """Write what was seen; the file is there when it is whole."""
        plain = [{"name": one.name, "seconds": one.seconds, "looks": one.looks, "own": dict(one.own.most_common(MOST)),
                  "with_called": dict(one.with_called.most_common(MOST))} for one in self.threads.values()]
        part = self._path.with_suffix(".part")
        part.write_text(json.dumps(plain, indent=1), encoding="utf-8")
        part.rename(self._path)


def _where(frame: FrameType) -> str:
    """Return the function of a frame, as `module:function`."""
    module = str(frame.f_globals.get("__name__", "?"))
    if module == "__main__":
        module = frame.f_code.co_filename.removeprefix(ROOT).removesuffix(".py").replace("/", ".")
    return f"{module}:{getattr(frame.f_code, 'co_qualname', frame.f_code.co_name)}"


def _name(frame: FrameType) -> str:
    """Return what a thread was started for: the outermost function of its stack that is not the start itself."""
    stack = []
    walk: FrameType | None = frame
    while walk is not None:
        stack.append(_where(walk))
        walk = walk.f_back
    return next((name for name in reversed(stack) if not name.startswith(FRAMES_OF_STARTS)), stack[-1])


def main() -> None:
    """Run the program under the sampler."""
    arguments = sys.argv[1:]
    has_handler = arguments[0] == "--main"
    path, module, *rest = arguments[has_handler:]
    sys.argv = [module, *rest]
    sys.setswitchinterval(SWITCH)
    sampler = Sampler(Path(path))
    if has_handler:
        sampler.by_handler()
    else:
        sampler.by_thread()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
