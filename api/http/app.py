"""The application: which routes there are, and what stands before them."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import FastAPI

from api.http import ask, collections, errors, feedback, health, ingest, search
from api.http.desk import Desk
from api.http.guard import Guard
from api.http.needs import Needs
from api.schemas import ErrorOut


def create_app(services: Needs) -> FastAPI:
    """The HTTP API over ``services``. ``[server] workers`` threads search and answer, one takes in.

    The schema is at /openapi.json. The interactive pages of FastAPI are off: they load from a CDN.
    """
    services.way = "http"  # over which no prompt is a path, and every trace says so
    server = services.settings.server
    asking = Desk(workers=server.workers, queue=server.queue)
    taking_in = Desk(workers=1, queue=server.queue)
    looking = Desk(workers=2, queue=server.queue)
    app = FastAPI(
        title="promptwell",
        version=version("promptwell"),
        docs_url=None,
        redoc_url=None,
        responses={"default": {"model": ErrorOut, "description": "Every error, whatever its status."}},
    )
    errors.install(app)
    app.add_middleware(Guard, max_body=server.max_body_mb * 2**20, taking_in=frozenset({ingest.PATH}))
    app.include_router(search.router(services, asking))
    app.include_router(ask.router(services, asking))
    app.include_router(feedback.router(services, looking))
    app.include_router(ingest.router(services, taking_in))
    app.include_router(collections.router(services, looking))
    app.include_router(health.router(services, looking))
    return app
