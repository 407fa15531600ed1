"""POST /v1/feedback"""

from __future__ import annotations

from fastapi import APIRouter

from api.http.desk import Desk
from api.http.needs import Needs
from api.schemas import FeedbackOut, FeedbackRequest


def router(services: Needs, desk: Desk) -> APIRouter:
    """What people say of answers."""
    routes = APIRouter()

    @routes.post("/v1/feedback")
    async def feedback(request: FeedbackRequest) -> FeedbackOut:
        """Say what an answer is worth, by its `trace`."""

        def work() -> FeedbackOut:
            said = services.feedback(
                request.trace,
                score=request.score,
                comment=request.comment,
                answer=request.answer,
                author=request.author,
            )
            return FeedbackOut(**said.as_json())

        return await desk.run(work)

    return routes
