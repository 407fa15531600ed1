"""POST /v1/search"""

from __future__ import annotations

from fastapi import APIRouter

from api.http.desk import Desk
from api.http.needs import Needs
from api.schemas import SearchOut, SearchRequest


def router(services: Needs, desk: Desk) -> APIRouter:
    """Passages for a question. By POST, because questions in URLs end up in logs and traces."""
    routes = APIRouter()

    @routes.post("/v1/search", response_model_exclude_none=True)
    async def search(request: SearchRequest) -> SearchOut:
        """The passages that answer a question, best first."""

        def work() -> SearchOut:
            trail = services.trace(
                request.question,
                collection=request.collection,
                k=request.k,
                where=request.where,
                mode=request.mode,
            )
            return SearchOut.of(trail, explain=request.explain)

        return await desk.run(work)

    return routes
