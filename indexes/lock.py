"""The writer's lock: one process at a time commits and publishes."""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rag.errors import LockHeld

POLL_SECONDS = 0.05


@contextmanager
def writer_lock(path: Path, *, wait: float = 0.0) -> Iterator[None]:
    """Hold ``flock`` on ``path`` inside the block. Raises LockHeld after ``wait`` seconds.

    The kernel drops the lock with its holder, however that one dies; the file stays, with the pid
    and the command of its last holder inside, for the message alone. Inherited by no child that
    was spawned (the descriptor closes on exec); a *forked* child would keep it: never fork.
    """
    deadline = time.monotonic() + wait
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        while not _locked(file):
            if time.monotonic() >= deadline:
                raise _held(path)
            time.sleep(min(POLL_SECONDS, max(0.0, deadline - time.monotonic())))
        os.ftruncate(file, 0)
        os.pwrite(file, _label(), 0)
        yield
    finally:
        os.close(file)


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _label() -> bytes:
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200]
    return f"{os.getpid()} {command}\n".encode("utf-8", "replace")


def _held(path: Path) -> LockHeld:
    found = re.match(r"(\d+) ?(.*)", path.read_text("utf-8", "replace"))
    pid, command = (int(found[1]), found[2]) if found else (0, "")
    who = f"process {pid} ({command})" if command else f"process {pid}" if pid else "another process"
    return LockHeld(f"{who} is writing to {path.parent}: wait until it is done, or end it", pid=pid)
