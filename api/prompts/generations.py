"""The services with a collection's older generation in place of its newest."""

from __future__ import annotations

from api.services import Services
from api.settings import Settings
from indexes.catalogue import Catalogue
from indexes.pinned import PinnedCatalogue
from indexes.store import Store

NOW = "now"
"""What names the generations that answer."""


class PinnedServices(Services):
    """See :class:`indexes.pinned.PinnedCatalogue`; leaves no traces."""

    def __init__(self, settings: Settings, folder: str) -> None:
        untraced = settings.traces.model_copy(update={"enabled": False})
        super().__init__(settings.model_copy(update={"traces": untraced}))
        self._folder = folder

    def catalogue(self, *, create: bool = False) -> Catalogue:
        """The data folder's, with the generation in question. Raises as the services' own."""
        with self._lock:
            if (found := self._open.get("catalogue")) is None:
                token = self.settings.chroma_token
                index = self.settings.index.index_settings(token=token.get_secret_value() if token else "")
                store = Store(self.settings.data, create=create)
                found = PinnedCatalogue(store, index=index, folder=self._folder)
                self._open["catalogue"] = found
            return found


def with_generation(settings: Settings, folder: str) -> Services:
    """The services that search with the generation in this folder, or with those that answer ("now")."""
    return Services(settings) if folder == NOW else PinnedServices(settings, folder)
