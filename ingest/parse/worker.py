"""Parsing in a limited child process: a hostile file costs one error, not the job."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Self, get_args

from ingest.parse import wire
from ingest.parse.child import memory
from ingest.parse.options import DEFAULTS, ParseOptions
from rag.errors import ReasonCode, SourceError
from rag.types import Document

PATIENCE = 20
"""A file of a million records is in order, one that drips a document a minute for days is not."""

LOOK_S = 0.05
"""How often the memory of a child is looked at while it is waited for."""

START_S = 120.0
"""How long a child may take to start, on a machine busy with other things."""

# -c and not -m: the child finds modules where this process does, whatever the working folder.
_START = (
    "import sys; sys.path[:] = sys.argv[2:]; from ingest.parse.child import serve; serve(int(sys.argv[1]))"
)
_OUT_OF_MEMORY = re.compile(
    rb"memory allocation of|out of memory|bad_alloc|cannot allocate|memoryerror", re.I
)


class ParserProcess:
    """One child process that parses file after file, and is replaced when a file ends it.

    ``timeout_s`` is wall time that the caller waits for the next document of a file, and a whole
    file may take ``PATIENCE`` times as long; what the caller does between documents does not
    count. ``memory_mb`` is memory above what the child needs to start: looked at while the
    caller waits, with a hard limit on address space behind it.
    For one thread at a time. The child dies with the thread that started it, and on ``close``.
    """

    def __init__(
        self, *, timeout_s: float = 60, memory_mb: int = 1024, options: ParseOptions = DEFAULTS
    ) -> None:
        self.timeout_s = timeout_s
        self.memory_mb = memory_mb
        self.options = options
        self._child: _Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the child. The next ``parse`` would start another one."""
        if self._child is not None:
            self._child.end()
            self._child = None

    def parse(self, uri: str, content: Path | bytes, media_type: str = "") -> Iterator[Document]:
        """As :func:`ingest.parse.parse`, streamed from the child, which opens a path itself.

        Raises SourceError, also ``timeout``, ``out_of_memory``, ``crashed``, ``unreadable`` and
        ``vanished``. After any of the first three, or when the caller stops early, the next file
        gets a fresh child.
        """
        data = content if isinstance(content, bytes) else b""
        request = {
            "uri": uri,
            "path": None if isinstance(content, bytes) else os.fspath(content.absolute()),
            "size": len(data),
            "media_type": media_type,
            "options": asdict(self.options),
            "timeout_s": self.timeout_s,
        }
        child = self._ready_child()
        alive = False
        try:
            child.ask(request, data, self.timeout_s)
            while True:
                header, body = child.frame(max_body=4 * self.options.max_document_chars)
                if header["kind"] == "document":
                    yield wire.unpack_document(header, body)
                    continue
                alive = header.get("last") is False
                if header["kind"] == "error":
                    raise SourceError(_code(header.get("code")), str(header.get("detail", "")))
                return
        except wire.BrokenFrame as error:
            raise SourceError("crashed", f"the parser's process answered with nonsense: {error}") from None
        finally:
            if not alive:
                self.close()

    def _ready_child(self) -> _Child:
        if self._child is not None and not self._child.running:
            self.close()
        if self._child is None:
            self._child = _Child(self.memory_mb)
        return self._child


def _code(code: object) -> ReasonCode:
    return next((known for known in get_args(ReasonCode) if known == code), "crashed")


class _Child:
    """The process and its pipes; ``_left`` and ``_total``: seconds for the next frame and the whole file."""

    def __init__(self, memory_mb: int) -> None:
        self._messages: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        paths = [str(Path(path).absolute()) for path in sys.path]
        self._process = subprocess.Popen(
            [sys.executable, "-B", "-c", _START, str(memory_mb), *paths],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            cwd="/",
            bufsize=0,
            process_group=0,  # Ctrl-C is the parent's to handle
        )
        assert self._process.stdin is not None  # noqa: S101 - PIPE was asked for
        assert self._process.stdout is not None  # noqa: S101
        self._requests, self._replies = self._process.stdin, self._process.stdout
        os.set_blocking(self._requests.fileno(), False)
        self._memory_mb = memory_mb
        self._limit = self._total = START_S
        self._seen = self._most = 0
        try:
            self.frame(max_body=0)
            self._most = memory(self._process.pid)[1] + (memory_mb << 20)
        except BaseException:
            self.end()
            raise

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: wire.Header, data: bytes, timeout_s: float) -> None:
        """Send a request; from here on ``timeout_s`` runs."""
        self._limit = self._left = timeout_s
        self._total = PATIENCE * timeout_s
        unsent = memoryview(wire.line(request) + data)
        while unsent:
            self._wait(self._requests.fileno(), select.POLLOUT)
            try:
                unsent = unsent[os.write(self._requests.fileno(), unsent[: 1 << 16]) :]
            except BrokenPipeError:
                raise self._died() from None

    def frame(self, *, max_body: int) -> tuple[wire.Header, bytes]:
        """The next frame. Raises SourceError when the child is too slow or dies, wire.BrokenFrame."""
        self._left = min(self._limit, self._total)
        return wire.decode(self._read, max_body=max_body)

    def _read(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            self._wait(self._replies.fileno(), select.POLLIN)
            part = os.read(self._replies.fileno(), min(size - len(parts), 1 << 20))
            if not part:
                raise self._died()
            parts += part
        return bytes(parts)

    def _wait(self, file: int, event: int) -> None:
        poll = select.poll()
        poll.register(file, event)
        while True:
            started = time.monotonic()
            ready = poll.poll(1000 * max(0.0, min(self._left, LOOK_S)))
            waited = time.monotonic() - started
            self._left -= waited
            self._total -= waited
            if ready:
                return
            if self._left <= 0:
                limit = self._limit if self._total > 0 else PATIENCE * self._limit
                raise SourceError("timeout", f"the parser took longer than {limit:g} s")
            self._seen = max(self._seen, memory(self._process.pid)[1])
            if self._most and self._seen > self._most:
                raise SourceError("out_of_memory", f"the parser took more than {self._memory_mb:,} MB")

    def _died(self) -> SourceError:
        status = self._process.wait()
        self._messages.seek(0)
        said = self._messages.read(1 << 16)
        # The kernel's own killer sends SIGKILL; ours is sent in end(), after which nobody reads.
        # Some libraries abort without a word when memory is refused: then the child had grown a lot.
        # As seen while waiting: ru_maxrss would begin with what the parent had when it spawned the child.
        grown = status < 0 and self._seen > self._memory_mb << 19  # half of what it may take
        if _OUT_OF_MEMORY.search(said) or status == -9 or grown:
            return SourceError("out_of_memory", "the parser ran out of memory and its process ended")
        words = " ".join(said.decode("utf-8", "replace").split())[-300:]
        return SourceError(
            "crashed", f"the parser's process ended with status {status}" + (f": {words}" if words else "")
        )

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for file in (self._requests, self._replies, self._messages):
            file.close()
