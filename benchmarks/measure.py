"""Times, memory and the unit that makes figures of different machines comparable.

Times in ms unless said otherwise. A time is the median of repeated runs, its spread the distance of its quartiles.
"""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from larndsim.errors import ArgumentError

MB = 1e6  # bytes
UNIT = 2048  # rows and columns of the matrices whose product is the unit of time
PACKAGES = ("numpy", "torch", "jax", "jaxlib", "eagerpy")
STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")


class Timing(NamedTuple):
    """The median of several runs (of `scaling` their mean), ms."""

    median: float
    spread: float
    runs: int


class Budget(NamedTuple):
    """How long a figure may take to measure: at least `runs` runs, then more until `seconds` have passed."""

    runs: int = 5
    seconds: float = 1.0
    most: int = 100


def timed(function: Callable[[], Any], wait: Callable[[Any], Any], budget: Budget) -> Timing:
    """Time a function that has been called before; `wait(result)` returns when the device has computed the result."""
    return summary(repeated(function, wait, budget))


def repeated(function: Callable[[], Any], wait: Callable[[Any], Any], budget: Budget) -> list[float]:
    """ms of each run."""
    spent: list[float] = []
    while len(spent) < budget.runs or (sum(spent) < 1e3 * budget.seconds and len(spent) < budget.most):
        spent.append(once(function, wait)[1])
    return spent


def summary(spent: list[float]) -> Timing:
    """Of the ms of several runs."""
    low, median, high = np.percentile(spent, [25, 50, 75])
    return Timing(float(median), float(high - low), len(spent))


def once(function: Callable[[], Any], wait: Callable[[Any], Any]) -> tuple[Any, float]:
    """What the function returns, and the ms that one run takes."""
    start = time.perf_counter()
    result = function()
    wait(result)
    return result, (time.perf_counter() - start) * 1e3


def unit(runs: int = 7) -> Timing:
    """One unit: a 2048 x 2048 product in single precision by NumPy, in this process."""
    a, b = np.random.default_rng(0).standard_normal((2, UNIT, UNIT)).astype(np.float32)
    np.matmul(a, b)
    return timed(lambda: np.matmul(a, b), lambda _: None, Budget(runs, 0.0))


class PeakMemory:
    """The highest memory of this process since `start`, above what it held when this was made, in MB.

    Made after the imports, it leaves the libraries out. Linux can forget the peak so far; elsewhere, the peak is that
    of the whole process.
    """

    def __init__(self) -> None:
        self.base = _status("VmRSS")

    def start(self) -> None:
        """Forget the peak so far."""
        if os.access(CLEAR, os.W_OK):
            CLEAR.write_text("5")

    def peak(self) -> float:
        """MB above the base."""
        return (_status("VmHWM") - self.base) / MB


def _status(key: str) -> float:
    """Bytes that the system says this process holds (VmRSS), or has held at most (VmHWM)."""
    if STATUS.exists():
        lines = (line.split() for line in STATUS.read_text().splitlines())
        return next(float(line[1]) * 1024 for line in lines if line and line[0] == f"{key}:")
    scale = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale)


def device_memory() -> float | None:
    """MB that this process holds on NVIDIA devices, as their driver says; None without such a device."""
    if shutil.which("nvidia-smi") is None:
        return None
    query = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
    rows = subprocess.run(query, capture_output=True, text=True, check=False).stdout.splitlines()
    own = [row.split(",")[1] for row in rows if row.split(",")[0].strip() == str(os.getpid())]
    return sum(float(value) for value in own) * 2**20 / MB if own else None


def in_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """What the function returns in a Python of its own: its memory, and what it compiles, are its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def larndsim_command(words: list[str]) -> tuple[str, float, float]:
    """What `larndsim` prints for such words, the seconds that it takes, and its peak memory in MB."""
    start = time.perf_counter()
    with subprocess.Popen([sys.executable, "-m", "larndsim", *words], stdout=subprocess.PIPE, text=True) as process:
        printed = process.stdout.read() if process.stdout else ""
        _, status, used = os.wait4(process.pid, 0)  # what this one has used, not all that came before it
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ArgumentError("input", "be simulated", f"`larndsim {words[0]}` ended with {process.returncode}")
    return printed, time.perf_counter() - start, used.ru_maxrss * 1024 / MB


def exponent(sizes: list[float], costs: list[float]) -> float | None:
    """The power of the size that the cost grows with: a straight line through the logarithms."""
    if len(sizes) < 2:
        return None
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "accelerator": _accelerator(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _accelerator() -> str | None:
    """The name of the NVIDIA devices, or None."""
    if shutil.which("nvidia-smi") is None:
        return None
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    return ", ".join(subprocess.run(query, capture_output=True, text=True, check=False).stdout.split("\n")[:-1]) or None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
