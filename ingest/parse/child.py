"""The child process: reads requests, parses inside limits, streams documents back."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import stat
from typing import IO, Any

from ingest.parse import parse, wire
from ingest.parse.options import ParseOptions
from rag.errors import SourceError
from rag.language import detect

_PR_SET_PDEATHSIG = 1
_RESERVED_MB = 1536
"""Address space that the libraries reserve and never touch: pdfium alone 1.1 GB."""


def serve(memory_mb: int) -> None:
    """Serve requests from standard input until it ends. Standard output carries frames only.

    What libraries print goes to standard error, which the parent keeps in a temporary file.
    """
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # Every file needs the language detector; it unpacks its model into a temporary file, once.
    detect("A sentence that makes the detector load its model.")
    space, resident = memory()
    most = space + ((memory_mb + _RESERVED_MB) << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    _send(replies, wire.encode({"kind": "ready"}))
    while line := requests.readline():
        request = json.loads(line)
        data = requests.read(request["size"])
        _forget_messages()
        _limit_cpu(request["timeout_s"])
        reply = _answer(request, data, replies)
        del data
        # What a library keeps of a big file would be missing for the next one.
        reply["last"] = reply.get("code") == "out_of_memory" or memory()[1] - resident > memory_mb << 19
        _send(replies, wire.encode(reply))
        if reply["last"]:
            return


def _answer(request: dict[str, Any], data: bytes, replies: IO[bytes]) -> wire.Header:
    # JSON has lists where the options have tuples.
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in request["options"].items()
    }
    options = ParseOptions(**values)
    try:
        if request["path"] is not None:
            data = _read(request["path"], options.max_file_bytes)
        for document in parse(request["uri"], data, media_type=request["media_type"], options=options):
            _send(replies, wire.pack_document(document))
    except SourceError as error:
        return {"kind": "error", "code": error.code, "detail": str(error)}
    except MemoryError:
        return {"kind": "error", "code": "out_of_memory", "detail": "the parser ran out of memory"}
    except BrokenPipeError:
        raise
    except BaseException as error:  # a panic of a Rust library derives from BaseException
        return {
            "kind": "error",
            "code": "crashed",
            "detail": f"the parser failed: {type(error).__name__}: {error}",
        }
    return {"kind": "done"}


def _read(path: str, max_bytes: int) -> bytes:
    try:
        # Not blocking: a named pipe would be waited for.
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(file, "rb") as opened:
            about = os.fstat(file)
            if not stat.S_ISREG(about.st_mode):
                raise SourceError("unreadable", "not a regular file")
            if about.st_size > max_bytes:
                raise SourceError("too_large", f"{about.st_size:,} bytes; the limit is {max_bytes:,}")
            return opened.read(max_bytes + 1)
    except FileNotFoundError:
        raise SourceError("vanished", "the file was listed and is gone") from None
    except OSError as error:
        raise SourceError("unreadable", f"the system refuses: {error.strerror}") from None


def _send(replies: IO[bytes], frame: bytes) -> None:
    replies.write(frame)
    replies.flush()


def memory(process: int | str = "self") -> tuple[int, int]:
    """Bytes of address space and of memory that a process has; zeros when it is gone."""
    try:
        with open(f"/proc/{process}/statm", "rb") as file:  # noqa: PTH123 - read for each file
            size, resident = file.read().split()[:2]
    except (OSError, ValueError):
        return 0, 0
    page = resource.getpagesize()
    return int(size) * page, int(resident) * page


def _forget_messages() -> None:
    with contextlib.suppress(OSError):
        os.ftruncate(2, 0)
        os.lseek(2, 0, os.SEEK_SET)


def _limit_cpu(timeout_s: float) -> None:
    """The parent's clock decides; this one only ends a child whose parent died while it was busy."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime + 4 * timeout_s) + 5
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))
