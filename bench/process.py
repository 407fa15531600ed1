"""Run a command and tell what it cost: wall time, CPU seconds and peak memory of its whole process tree."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLE_SECONDS = 0.05
"""How often memory is looked at. Of a shorter peak the kernel tells that of the largest process."""

PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Usage:
    """``peak_bytes`` is the highest sum of resident memory over the tree (shared pages count once a process).

    ``root_peak_bytes`` is the peak of the started process alone, without what it starts.
    ``others`` is the share of all cores that other processes took meanwhile: above some percent, the
    times say little.
    """

    wall: float
    cpu: float
    peak_bytes: int
    root_peak_bytes: int
    others: float


def run(command: Sequence[str | Path], *, env: Mapping[str, str] | None = None) -> Usage:
    """Run to the end. Raises RuntimeError, with the last lines of stderr, when it fails."""
    busy, total = _machine()
    sampled_from = sum(os.times()[:2])
    started = time.perf_counter()
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(
            [str(part) for part in command],
            env={**os.environ, **(env or {})},
            stdout=subprocess.DEVNULL,
            stderr=complaints,
        ) as process,
    ):
        peak, root_peak = 0, 0
        while True:
            done, status, rusage = os.wait4(process.pid, os.WNOHANG)
            if done:
                break
            own, below = memory(process.pid)
            root_peak, peak = max(root_peak, own), max(peak, own + below)
            time.sleep(SAMPLE_SECONDS)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        complaints.seek(max(0, complaints.seek(0, os.SEEK_END) - 4000))
        tail = complaints.read().decode(errors="replace")
    if process.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit {process.returncode}\n{tail}")
    cpu = rusage.ru_utime + rusage.ru_stime
    busy_after, total_after = _machine()
    sampling = sum(os.times()[:2]) - sampled_from
    others = max(0.0, busy_after - busy - cpu - sampling) / max(total_after - total, 1e-9)
    return Usage(wall, cpu, max(peak, rusage.ru_maxrss * 1024), root_peak, others)


def memory(pid: int) -> tuple[int, int]:
    """Resident bytes of a process, and of everything below it, now."""
    own = below = 0
    waiting = [pid]
    while waiting:
        at = waiting.pop()
        place = Path(f"/proc/{at}")
        try:
            resident = int((place / "statm").read_text().split()[1]) * PAGE
            for thread in (place / "task").iterdir():
                waiting += map(int, (thread / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):  # it ended while it was looked at
            continue
        if at == pid:
            own = resident
        else:
            below += resident
    return own, below


def _machine() -> tuple[float, float]:
    """Busy and total CPU seconds of all cores since the machine started."""
    user, nice, system, idle, iowait, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    busy = user + nice + system + irq + softirq + steal
    tick = os.sysconf("SC_CLK_TCK")
    return busy / tick, (busy + idle + iowait) / tick


def megabytes(size: float) -> str:
    return f"{size / 1e6:,.0f} MB"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, padded to be read as it stands."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]

    def joined(cells: Sequence[str]) -> str:
        padded = [cells[0].ljust(widths[0])]
        padded += [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return f"| {' | '.join(padded)} |"

    rule = f"|{'|'.join('-' * (width + 2) for width in widths)}|"
    return "\n".join([joined(lines[0]), rule, *map(joined, lines[1:])])
