"""rag serve"""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.common import DataOption


def serve(
    host: Annotated[str | None, typer.Option(help="Loopback only, until there are keys.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535)] = None,
    data: DataOption = None,
) -> None:
    """Serve the HTTP API: search, ask, ingest. The schema is at /openapi.json."""
    from api.cli.common import services
    from api.http import check_bind, create_app

    wired = services(data)
    host = host or wired.settings.server.host
    check_bind(host)
    import uvicorn

    uvicorn.run(create_app(wired), host=host, port=wired.settings.server.port if port is None else port)
