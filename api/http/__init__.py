"""The HTTP API: one file per resource, one error table, model work off the event loop."""

from __future__ import annotations

from api.http.app import create_app
from api.http.guard import check_bind

__all__ = ["check_bind", "create_app"]
