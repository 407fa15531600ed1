"""Every error as an HTTP answer: one table, one shape."""

from __future__ import annotations

import re
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from api.schemas import ErrorDetail, ErrorOut
from rag.errors import (
    EmbedderMismatch,
    LabelProtected,
    LockHeld,
    ModelError,
    NotFound,
    RagError,
    SourceError,
    StorageError,
    UsageError,
)

STATUS: Final[tuple[tuple[type[RagError], int], ...]] = (
    (NotFound, 404),
    (UsageError, 400),
    (SourceError, 400),
    (LabelProtected, 409),
    (LockHeld, 409),
    (EmbedderMismatch, 409),
    (ModelError, 502),
    (StorageError, 503),
    (RagError, 500),
)
"""The first that fits counts."""

CODES: Final = {
    400: "bad_request",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid_request",
    500: "internal",
    503: "busy",
}

SCHEMA_HINT: Final = "the paths and their requests are in /openapi.json"


class Refusal(HTTPException):
    """An answer that the HTTP side gives on its own account."""

    def __init__(
        self, status: int, message: str, *, hint: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(status, message, headers=headers)
        self.hint = hint


def told(error: Exception) -> tuple[int, ErrorOut]:
    """The status and the body for an error. What was not foreseen is told without its internals.

    >>> told(LockHeld("an ingest is writing"))
    (409, ErrorOut(error=ErrorDetail(code='lock_held', message='an ingest is writing', hint=None)))
    >>> told(KeyError("secret"))[1].error.code
    'internal'
    """
    hint: str | None = None
    if isinstance(error, RagError):
        status = next(status for kind, status in STATUS if isinstance(error, kind))
        code = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__).lower()
        message = str(error)
    elif isinstance(error, RequestValidationError):
        status, message, hint = 422, _fields(error.errors()), SCHEMA_HINT
        code = CODES[status]
    elif isinstance(error, HTTPException):
        status, message = error.status_code, str(error.detail)
        code = CODES.get(status, "http_error")
        hint = _hint(error)
    else:
        status, message, hint = 500, "something went wrong in the server", "the server's log says what"
        code = CODES[status]
    return status, ErrorOut(error=ErrorDetail(code=code, message=message, hint=hint))


def answer(error: Exception) -> JSONResponse:
    """The error as a response."""
    status, body = told(error)
    headers = error.headers if isinstance(error, HTTPException) else None
    if body.error.code == CODES[500]:
        headers = {"Connection": "close"}  # uvicorn closes it, and a client that was not told would reuse it
    return JSONResponse(body.model_dump(exclude_none=True), status_code=status, headers=headers)


def install(app: FastAPI) -> None:
    """Let every error of ``app`` be told this way."""

    async def handle(request: Request, error: Exception) -> JSONResponse:
        return answer(error)

    for kind in (RagError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, handle)


def _hint(error: HTTPException) -> str | None:
    if isinstance(error, Refusal):
        return error.hint
    if error.status_code == 405 and error.headers:
        return f"this path takes {error.headers.get('Allow', 'another method')}"
    return SCHEMA_HINT if error.status_code == 404 else None


def _fields(errors: Any) -> str:
    """The first few faults, each with the path of its field. What was sent is not repeated."""
    lines = []
    for one in errors[:5]:
        path = ".".join(str(part) for part in one["loc"] if part != "body")
        lines.append(f"{path}: {one['msg']}" if path else str(one["msg"]))
    more = f" (and {len(errors) - 5} more)" if len(errors) > 5 else ""
    return "; ".join(lines) + more
