"""POST /v1/ingest: texts as JSON, or files as a form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import UploadFile

from api.http.desk import Desk
from api.http.errors import Refusal
from api.http.needs import Needs
from api.schemas import DocumentIn, IngestOut, IngestRequest, Name
from rag.types import Document

if TYPE_CHECKING:
    from ingest.job import IngestReport

PATH = "/v1/ingest"
MAX_FILES = 1000
NAME: TypeAdapter[str] = TypeAdapter(Name)

_FORM = {
    "type": "object",
    "required": ["files"],
    "properties": {
        "files": {"type": "array", "items": {"type": "string", "format": "binary"}, "maxItems": MAX_FILES},
        "collection": {"type": "string"},
    },
}


def router(services: Needs, desk: Desk) -> APIRouter:
    """Taking in. A document or file with a name that is there already takes its place; none is removed."""
    routes = APIRouter()
    body: dict[str, Any] = {
        "required": True,
        "content": {
            "application/json": {"schema": _texts_schema()},
            "multipart/form-data": {"schema": _FORM},
        },
    }

    @routes.post(PATH, openapi_extra={"requestBody": body})
    async def ingest(request: Request) -> IngestOut:
        """Take in texts or files. Each one that fails has its line in the answer; the others go on."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/json":
            data = await request.body()

            def work() -> IngestReport:
                documents, collection = _texts(data)
                return services.ingest_texts(documents, collection=collection)

            report = await desk.run(work)
        elif kind == "multipart/form-data":
            files, collection = await _form(request)
            report = await desk.run(lambda: services.ingest_files(files, collection=collection))
        else:
            hint = "send application/json (texts) or multipart/form-data (files)"
            raise Refusal(415, f"cannot take in the media type {kind!r}", hint=hint)
        return IngestOut.of(report)

    return routes


def _texts_schema() -> dict[str, Any]:
    """In one piece: what is referred to would have to stand at the top of the whole schema."""
    schema = IngestRequest.model_json_schema()
    del schema["$defs"]
    schema["properties"]["documents"]["items"] = DocumentIn.model_json_schema()
    return schema


def _texts(data: bytes) -> tuple[list[Document], str | None]:
    try:
        request = IngestRequest.model_validate_json(data)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_input=False, include_context=False)) from error
    return [document.document() for document in request.documents], request.collection


def _name(value: str) -> str:
    try:
        return NAME.validate_python(value)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_input=False, include_context=False)) from error


async def _form(request: Request) -> tuple[list[tuple[str, bytes]], str | None]:
    hint = 'send the files as parts named "files", and "collection" if it is not the default one'
    files: list[tuple[str, bytes]] = []
    collection: str | None = None
    async with request.form(max_files=MAX_FILES, max_fields=1) as form:
        for name, value in form.multi_items():
            if name == "files" and isinstance(value, UploadFile) and value.filename:
                files.append((_name(value.filename), await value.read()))
            elif name == "collection" and isinstance(value, str):
                collection = _name(value)
            else:
                raise Refusal(422, f"the form holds a part {name!r} that means nothing here", hint=hint)
    if not files:
        raise Refusal(422, "the form holds no file", hint=hint)
    return files, collection
