"""What this machine's cores multiply at best: floating-point operations a second, by precision, as JSON."""

from __future__ import annotations

import json
import time

SIDES = (256, 512, 1024, 2048)
SECONDS = 0.5
"""For one size. A precision that the cores only emulate is so slow that larger sizes are left out."""


def main() -> None:
    print(json.dumps({name: best_rate(name) for name in ("float32", "bfloat16")}))


def best_rate(precision: str) -> float:
    import torch

    best = 0.0
    for side in SIDES:
        left, right = (torch.randn(side, side).to(getattr(torch, precision)) for _ in range(2))
        out = left @ right  # the first product sets the kernels up
        began = time.perf_counter()
        until = began + SECONDS
        while began < until:
            torch.mm(left, right, out=out)
            took, began = time.perf_counter() - began, time.perf_counter()
            best = max(best, 2 * side**3 / took)
        if took > SECONDS / 8:
            break
    return best


if __name__ == "__main__":
    main()
