"""What this machine's cores multiply at best: floating-point operations a second, by precision, as JSON."""

from __future__ import annotations

import json
import time

SIDE = 2048
SECONDS = 2.0


def main() -> None:
    import torch

    rates = {}
    for name in ("float32", "bfloat16"):
        left = torch.randn(SIDE, SIDE).to(getattr(torch, name))
        right = torch.randn(SIDE, SIDE).to(getattr(torch, name))
        out = left @ right  # the first product sets the kernels up
        best, until = 0.0, time.perf_counter() + SECONDS
        while time.perf_counter() < until:
            began = time.perf_counter()
            torch.mm(left, right, out=out)
            best = max(best, 2 * SIDE**3 / (time.perf_counter() - began))
        rates[name] = best
    print(json.dumps(rates))


if __name__ == "__main__":
    main()
