"""POST /v1/ask: an answer as JSON, or as server-sent events while it is written."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Generator
from contextlib import closing
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Header
from fastapi.responses import JSONResponse, Response
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from starlette.types import Send

from api.http.desk import Desk, Stream
from api.http.errors import told
from api.http.needs import Needs
from api.schemas import AnswerOut, AskRequest, ContextOut
from rag.answer import Answer, Event, Piece, Retrieved

PING_S = 15.0
"""Seconds of silence after which a comment is sent, so that no proxy takes the stream for dead."""

_EVENTS = """Server-sent events: `context` (the passages), `delta` (a piece of the answer's text), `answer`
(the whole of it, with its citations and receipt) or, at any point, `error`."""


def router(services: Needs, desk: Desk) -> APIRouter:
    """Answers with citations."""
    routes = APIRouter()

    @routes.post(
        "/v1/ask",
        response_model=None,
        responses={
            200: {
                "model": AnswerOut,
                "description": "The answer, its citations and its receipt.",
                "content": {"text/event-stream": {"schema": {"type": "string", "description": _EVENTS}}},
            }
        },
    )
    async def ask(request: AskRequest, accept: Annotated[str, Header()] = "") -> Response:
        """Answer a question from the knowledge base, with numbered citations."""

        def events() -> Generator[Event]:
            yield from services.ask_events(
                request.question,
                collection=request.collection,
                k=request.k,
                where=request.where,
                prompt=request.prompt,
                variables=request.variables,
            )

        if request.stream or "text/event-stream" in accept:
            stream = desk.stream(events)
            try:
                first = await stream.next()  # what fails before it is an HTTP error like any other
            except BaseException:
                stream.close()
                raise
            return AnswerStream(first, stream)

        def work() -> dict[str, Any]:
            with closing(events()) as made:
                answer = next(event for event in made if isinstance(event, Answer))
            return AnswerOut.of(answer).model_dump()

        return JSONResponse(await desk.run(work))

    return routes


class AnswerStream(EventSourceResponse):
    """Sends events as they come. When the client goes, the generation stops at its next event."""

    def __init__(self, first: Event, stream: Stream[Event]) -> None:
        super().__init__(
            _written(first, stream), headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        )
        self._stream = stream

    async def stream_response(self, send: Send) -> None:
        try:
            await super().stream_response(send)
        finally:
            self._stream.close()


async def _written(first: Event, stream: Stream[Event]) -> AsyncIterator[bytes]:
    yield _as_bytes(first)
    while True:
        event: Event | None = None
        try:
            with anyio.move_on_after(PING_S):
                event = await stream.next()
        except StopAsyncIteration:
            return
        except Exception as error:
            yield _sse("error", told(error)[1].model_dump(exclude_none=True))
            return
        yield KEEPALIVE_COMMENT if event is None else _as_bytes(event)


def _as_bytes(event: Event) -> bytes:
    match event:
        case Retrieved(context=context):
            return _sse("context", ContextOut.of(context).model_dump())
        case Piece(text=text):
            return _sse("delta", {"text": text})
        case Answer() as answer:
            return _sse("answer", AnswerOut.of(answer).model_dump())


def _sse(name: str, data: dict[str, Any]) -> bytes:
    return format_sse_event(event=name, data_str=json.dumps(data, ensure_ascii=False))
