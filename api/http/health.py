"""GET /healthz"""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Response

from api.http.desk import Desk
from api.http.errors import told
from api.http.needs import Needs
from api.schemas import HealthOut

PATIENCE_S = 1.0


def router(services: Needs, desk: Desk) -> APIRouter:
    """Liveness at once; readiness as far as it is known within a second."""
    routes = APIRouter()
    checks: list[asyncio.Task[dict[str, Any]]] = []  # at most one: who asks meanwhile waits for the same

    @routes.get("/healthz")
    async def health(response: Response) -> HealthOut:
        """200 while the server lives. ``ready``: the data can be read; ``detail``: what is there."""
        response.headers["Cache-Control"] = "no-store"
        if not checks or checks[0].done():
            checks[:] = [asyncio.create_task(desk.run(services.health))]
        done, _ = await asyncio.wait(checks, timeout=PATIENCE_S)
        if not done:
            return HealthOut(ready=False, detail={"error": "the data folder does not answer in time"})
        try:
            return HealthOut(ready=True, detail=checks[0].result())
        except Exception as error:
            return HealthOut(ready=False, detail=told(error)[1].model_dump(exclude_none=True))

    return routes
