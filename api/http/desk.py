"""Where blocking work is done: in a bounded number of threads, off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from typing import Generic, TypeVar

import anyio
from anyio import from_thread, to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from api.http.errors import Refusal

T = TypeVar("T")

AHEAD = 256
"""Events that a generator may be ahead of its reader."""


class Desk:
    """``workers`` threads and ``queue`` places to wait for one; who comes after that is turned away."""

    def __init__(self, *, workers: int, queue: int) -> None:
        self._limiter = anyio.CapacityLimiter(workers)
        self._places = workers + queue
        self._streams: set[asyncio.Task[None]] = set()

    async def run(self, work: Callable[[], T]) -> T:
        """The result of ``work()``. Raises what it raises; Refusal (503) when the queue is full."""
        with self._place():
            return await to_thread.run_sync(work, limiter=self._limiter)

    def stream(self, work: Callable[[], Generator[T]]) -> Stream[T]:
        """The events of ``work()``, which runs from its first to its last event in one thread.

        One thread, because what a generator holds open between two events (a read transaction of
        SQLite) must not change threads. Raises Refusal (503) when the queue is full.
        """
        place = self._place()
        place.__enter__()
        send, receive = anyio.create_memory_object_stream[T | Exception](AHEAD)

        async def produce() -> None:
            try:
                await to_thread.run_sync(_pump, work, send, limiter=self._limiter)
            finally:
                send.close()
                place.__exit__(None, None, None)

        task = asyncio.create_task(produce())
        self._streams.add(task)
        task.add_done_callback(self._streams.discard)
        return Stream(receive)

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._places == 0:
            raise Refusal(
                503, "too many requests at a time", hint="try again in a moment", headers={"Retry-After": "1"}
            )
        self._places -= 1
        try:
            yield
        finally:
            self._places += 1


class Stream(Generic[T]):
    """The reader's end. After :meth:`close` the generator is closed at its next event."""

    def __init__(self, receive: MemoryObjectReceiveStream[T | Exception]) -> None:
        self._receive = receive

    async def next(self) -> T:
        """The next event. Raises what the generator raised, StopAsyncIteration behind the last."""
        try:
            event = await self._receive.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None
        if isinstance(event, Exception):
            raise event
        return event

    def close(self) -> None:
        self._receive.close()


def _pump(work: Callable[[], Generator[T]], send: MemoryObjectSendStream[T | Exception]) -> None:
    try:
        if not send.statistics().open_receive_streams:
            return  # the reader has gone while this waited for a thread
        try:
            with closing(work()) as events:
                for event in events:
                    from_thread.run(send.send, event)
        except anyio.BrokenResourceError:
            raise
        except Exception as error:
            from_thread.run(send.send, error)
    except anyio.BrokenResourceError:
        return  # the reader has gone
