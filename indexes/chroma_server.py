"""A Chroma server (``chroma run``): each generation is a collection of its own there, never changed.

Its name is drawn at random, so that any number of data folders share one server; the folder of the
generation holds the name and the id that the server gave, which never comes back. A server that is down,
slow or has lost the collection costs speed and no answer: every row is looked at until it answers again.

It is spoken to over HTTP (the API v2), because the client of the package ``chromadb`` waits for ever.
Deleting a collection frees its name; a server of one machine keeps the files and the memory of it until
it is started anew, and the files longer (chroma-core/chroma#5259).
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import re
import threading
import time
import uuid
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self
from urllib.parse import quote

import numpy as np

from indexes.chroma import GRAPH, asked_for, places_of
from indexes.matrix import Matrix, Places
from indexes.settings import ChromaSettings, IndexSettings
from indexes.vector import CannotPropose, Coarse, Mask
from rag.errors import IndexDamaged, StorageError
from rag.types import Vectors

if TYPE_CHECKING:
    import httpx

FILE = "collection.json"
BODY_BYTES = 16_000_000
"""Rows sent at once take so much; a server takes 40 MB."""
BUILDING_S = 120.0
"""Seconds that the server may take for one request of a build."""
AGAIN_S = 10.0
"""Seconds that a server that failed is left alone."""
SAMPLE = 8
"""Rows that are compared when a collection is checked."""
NOT_FOUND, CONFLICT = 404, 409

log = logging.getLogger(__name__)


class ChromaServer(Coarse):
    """:class:`indexes.vector.Coarse` by a collection of a server, whose ids are the places of the rows."""

    kind: ClassVar[str] = "chroma-server"
    exact: ClassVar[bool] = False

    def __init__(self, server: Server, place: Place, matrix: Matrix, *, effort: float) -> None:
        self._server = server
        self._place = place
        self._matrix = matrix
        self._effort = effort
        self._lock = threading.Lock()
        self._checked = self._told = False
        self._left_alone_until = 0.0

    @classmethod
    def build(cls, folder: Path, matrix: Matrix, *, settings: IndexSettings) -> None:
        """See :class:`indexes.vector.Coarse`. Raises StorageError, InvalidSetting."""
        with contextlib.closing(Server(settings.chroma, timeout_s=BUILDING_S)) as server:
            server.make()  # it answers: nothing is begun that could not be dropped
            place = Place(f"promptwell-{uuid.uuid4().hex}", "")
            place.write(folder)  # before it is there: whoever finds the folder knows what to delete
            about = {"rows": len(matrix), "folder": "/".join(folder.parts[-3:-1])}
            settings_of_it = {"name": place.name, "metadata": about, "configuration": {"hnsw": GRAPH}}
            place = Place(place.name, server.call("POST", "", settings_of_it)["id"])
            place.write(folder)
            at_once = max(1, BODY_BYTES // (matrix.dim * 16 // 3))
            for start, block in matrix.blocks():
                for first in range(0, len(block), at_once):
                    rows = block[first : first + at_once].astype("<f4")
                    ids = range(start + first, start + first + len(rows))
                    packed = [base64.b64encode(row.tobytes()).decode() for row in rows]
                    server.call(
                        "POST", f"/{place.id}/add", {"ids": [str(id) for id in ids], "embeddings": packed}
                    )
            cls(server, place, matrix, effort=settings.effort).check()

    @classmethod
    def open(cls, folder: Path, matrix: Matrix, *, settings: IndexSettings) -> Self:
        """See :class:`indexes.vector.Coarse`. The server is asked at the first search."""
        return cls(Server(settings.chroma), Place.read(folder), matrix, effort=settings.effort)

    @classmethod
    def drop(cls, folder: Path, *, settings: IndexSettings) -> None:
        """See :class:`indexes.vector.Coarse`. Without a server in the settings there is nothing to reach."""
        if not settings.chroma.url or not (folder / FILE).exists():
            return
        with contextlib.suppress(IndexDamaged), contextlib.closing(Server(settings.chroma)) as server:
            server.call("DELETE", f"/{Place.read(folder).name}")

    def check(self) -> None:
        """See :class:`indexes.vector.Coarse`: the id, the number of rows, some of them number by number."""
        there = self._server.call("GET", f"/{self._place.name}")["id"] == self._place.id
        if not there or self._server.call("GET", f"/{self._place.id}/count") != len(self._matrix):
            raise IndexDamaged(f"{self._server} holds another collection {self._place.name} than was built")
        places = np.unique(np.linspace(0, max(0, len(self._matrix) - 1), SAMPLE).astype(np.int64))
        places = places[: len(self._matrix)]
        asked = {"ids": [str(place) for place in places], "include": ["embeddings"]}
        found = self._server.call("POST", f"/{self._place.id}/get", asked)
        held = dict(zip(found["ids"], found["embeddings"] or (), strict=True))
        for place, row in zip(places, self._matrix.take(places), strict=True):
            if not np.array_equal(np.array(held.get(str(place), ()), dtype=np.float32), row):
                raise IndexDamaged(f"{self._server} holds another row {place} of {self._place.name}")

    def propose(self, vector: Vectors, *, n: int, mask: Mask | None) -> tuple[Places, float | None]:
        """See :class:`indexes.vector.Coarse`."""
        with self._lock:
            now = time.monotonic()
            if now < self._left_alone_until:
                raise CannotPropose(f"{self._server} failed a moment ago")
            if self._told:  # one search tries it again, the others go on without
                self._left_alone_until = now + AGAIN_S
        fetch = asked_for(n, mask, count=len(self._matrix), effort=self._effort)
        asked = {"query_embeddings": [vector.tolist()], "n_results": fetch, "include": []}
        try:
            if not self._checked:
                self.check()
            (ids,) = self._server.call("POST", f"/{self._place.id}/query", asked)["ids"]
            places = places_of(ids, mask, count=len(self._matrix))
        except (StorageError, LookupError, TypeError, ValueError) as error:
            self._leave_alone(error)
            raise CannotPropose(str(error)) from error
        self._checked, self._told, self._left_alone_until = True, False, 0.0
        return places, None

    def _leave_alone(self, error: Exception) -> None:
        with self._lock:
            self._checked = False
            self._left_alone_until = time.monotonic() + AGAIN_S
            told, self._told = self._told, True
        if not told:
            log.warning("%s; until it answers, every chunk is looked at: slower, the same answers", error)


@dataclass(frozen=True, slots=True)
class Place:
    """A collection on a server: the name that we gave it, the id that the server did ("" before)."""

    name: str
    id: str

    @classmethod
    def read(cls, folder: Path) -> Self:
        """What :meth:`write` wrote. Raises IndexDamaged."""
        try:
            about = json.loads((folder / FILE).read_text("utf-8"))
            return cls(str(about["name"]), str(about["id"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise IndexDamaged(f"{folder / FILE} cannot be read: {error}") from error

    def write(self, folder: Path) -> None:
        """Write it into the folder of its generation."""
        (folder / FILE).write_text(json.dumps({"name": self.name, "id": self.id}), "utf-8")


class Server:
    """The collections of one tenant's database on a server. Safe in any thread."""

    def __init__(self, settings: ChromaSettings, *, timeout_s: float | None = None) -> None:
        import httpx

        token = {"X-Chroma-Token": settings.token, "Authorization": f"Bearer {settings.token}"}
        self._settings = settings
        self._http = httpx.Client(
            headers=token if settings.token else {}, timeout=timeout_s or settings.timeout_s
        )
        weakref.finalize(self, self._http.close)

    def __str__(self) -> str:
        return f"Chroma at {re.sub('//.*@', '//', self._settings.url)}"

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def make(self) -> None:
        """Make the tenant and the database where they are missing. Raises StorageError."""
        tenant, database = self._settings.tenant, self._settings.database
        self._ask("POST", "/tenants", {"name": tenant}, fine=CONFLICT)
        self._ask("POST", f"/tenants/{quote(tenant, '')}/databases", {"name": database}, fine=CONFLICT)

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Ask about collections. Raises StorageError; IndexDamaged where there is no such collection."""
        tenant, database = (quote(each, "") for each in (self._settings.tenant, self._settings.database))
        return self._ask(method, f"/tenants/{tenant}/databases/{database}/collections{path}", body)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None, *, fine: int = 0) -> Any:
        import httpx

        if not self._settings.url:
            raise StorageError("no Chroma server is set: set [index.chroma] url, say http://localhost:8000")
        try:
            answer = self._http.request(method, f"{self._settings.url.rstrip('/')}/api/v2{path}", json=body)
            if answer.is_success or answer.status_code == fine:
                return answer.json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:  # ValueError: it is no Chroma server
            what = str(error) or type(error).__name__
            raise StorageError(
                f"{self} cannot be reached ({what}): start it (`chroma run --path FOLDER`), or set "
                "[index.chroma] url"
            ) from error
        kind = IndexDamaged if answer.status_code == NOT_FOUND else StorageError
        raise kind(f"{self} refuses ({answer.status_code}: {_said(answer)})")


def _said(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])[:200]
    except (ValueError, KeyError, TypeError):
        return answer.text[:200] or answer.reason_phrase
