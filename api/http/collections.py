"""GET /v1/collections"""

from __future__ import annotations

from fastapi import APIRouter

from api.http.desk import Desk
from api.http.needs import Needs
from api.schemas import CollectionOut, CollectionsOut


def router(services: Needs, desk: Desk) -> APIRouter:
    """The collections."""
    routes = APIRouter()

    @routes.get("/v1/collections")
    async def collections() -> CollectionsOut:
        """Every collection: its size, its embedder, its index."""
        found = await desk.run(services.collections)
        return CollectionsOut(collections=[CollectionOut.of(info) for info in found])

    return routes
