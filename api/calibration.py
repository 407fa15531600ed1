"""A collection's calibration as it is kept: a fact in the catalogue (:mod:`api.calibrate` makes it).

It counts for the embedder and the cut that it was made with.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rag.confidence import Calibration

if TYPE_CHECKING:
    from indexes.catalogue import Catalogue
    from rag.protocols import Space

PATIENCE = 5.0
"""Seconds to wait for a process that writes."""


def calibration_of(catalogue: Catalogue, name: str, *others: str) -> Calibration | None:
    """A collection's calibration; None without one, when it was made with another embedder or cut, and
    where ``others`` are searched with it: among more documents a question finds a nearest one more often."""
    if others:
        return None
    kept = catalogue.fact(_fact(name))
    if kept is None:
        return None
    values = json.loads(kept)
    if any(values[key] != now for key, now in _made_with(catalogue.collection(name).space).items()):
        return None
    kinds = (tuple(values[kind]) for kind in ("answerable", "held_out", "unanswerable"))
    return Calibration(values["slope"], values["intercept"], *kinds)


def keep_calibration(catalogue: Catalogue, name: str, made: Calibration) -> None:
    """Remember it, in place of what there was. Raises UnknownCollection, LockHeld."""
    about = {**asdict(made), **_made_with(catalogue.collection(name).space)}
    catalogue.remember(_fact(name), json.dumps(about), wait=PATIENCE)


def forget_calibration(catalogue: Catalogue, name: str) -> bool:
    """Whether there was one to forget. Raises LockHeld."""
    return catalogue.forget(_fact(name), wait=PATIENCE)


def summary(made: Calibration, *, answered: float) -> dict[str, Any]:
    """What every confidence of this calibration says, but for its value."""
    figures = asdict(made.judge(0.0, answered=answered))
    del figures["value"]
    return figures


def _fact(name: str) -> str:
    return f"calibration:{name}"


def _made_with(space: Space | None) -> dict[str, str]:
    return {
        "embedder": space.embedder.fingerprint if space else "",
        "chunker": space.chunker if space else "",
    }
