"""Processes of one thread each that make one fit after the other; who is done first gets the next.

A process reads JSON lines from its standard input: first the plan, then the fits. It answers each with a line on its
standard output, when the file of the fit is written.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections import deque
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from benchmarks import toys
from benchmarks.closure import sample
from benchmarks.toys import Job, Plan
from larndsim.errors import ArgumentError

ROOT = Path(__file__).resolve().parents[1]
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC"), "1")
XLA = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"  # NPROC: the size of its other thread pool
READY = "ready"
PATIENCE = 10.0  # seconds that a process has to end


def made(plan: Plan, jobs: list[Job], folder: Path, processes: int | None) -> Generator[dict[str, Any], None, None]:
    """Make the fits that are not in the folder yet; each as it is done."""
    if processes is None:
        processes = cores() if plan.choices["device"] == "cpu" else 1
    if processes < 1:
        raise ArgumentError("processes", "be a whole number greater than 0", f"it is {processes}")
    waiting = deque(job for job in jobs if not _path(folder, job).exists())
    processes = min(processes, len(waiting))
    workers: list[Worker] = []
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or selector.get_map():
                while waiting and len(selector.get_map()) < processes:
                    workers.append(Worker(plan, folder))
                    selector.register(workers[-1].answers, selectors.EVENT_READ, workers[-1])
                for key, _ in selector.select():
                    yield from key.data.answered()
                    if not (waiting and key.data.alive):
                        selector.unregister(key.fileobj)
                        key.data.close()
                    else:
                        key.data.give(waiting.popleft())
        finally:
            for worker in workers:
                worker.process.terminate()
            for worker in workers:
                worker.close()


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment() -> dict[str, str]:
    """Of a process with one thread: read by the libraries when they are imported."""
    return {**os.environ, **ONE_THREAD, "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {XLA}".strip()}


class Worker:
    """A process, as the one that deals the fits sees it."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.folder, self.alive = folder, True
        self.job: Job | None = None  # the last that it was given
        with open(folder / toys.LOG, "a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.workers"], cwd=ROOT, env=environment(), text=True, stderr=log,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
        assert self.process.stdout is not None
        self.answers = self.process.stdout
        self._say({"folder": str(folder.resolve()), **plan._asdict()})

    def give(self, job: Job) -> None:
        """The next fit."""
        self.job = job
        self._say(job._asdict())

    def answered(self) -> Iterator[dict[str, Any]]:
        """The fit that is done, if it is one; that of a process that died has status `error`."""
        line = self.answers.readline()
        if self.job is None:
            self._check_started(line)
            return
        path = _path(self.folder, self.job)
        if not line:
            self.alive = False
            message = f"its process ended with code {self.process.wait()}"
            toys.write(path, {**self.job._asdict(), "status": "error", "message": message})
        yield json.loads(path.read_text(encoding="utf-8"))

    def close(self) -> None:
        """End the process: at once, if it still fits."""
        self.process.terminate()
        try:
            self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()

    def _check_started(self, line: str) -> None:
        """Refuse what the process refuses, before any fit."""
        if not line:
            raise SystemExit(f"A process ended before its first fit: see {self.folder / toys.LOG}.")
        if (answer := json.loads(line)) != READY:
            raise ArgumentError(*answer)

    def _say(self, content: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(content) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:  # it has died: its empty answer says so
            pass


def _path(folder: Path, job: Job) -> Path:
    return folder / f"{job.name}.json"


def main() -> None:
    """The process itself."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever else is printed goes to the log

    def answer(content: Any) -> None:
        print(json.dumps(content), file=answers, flush=True)

    plan = json.loads(sys.stdin.readline())
    try:
        segments = started(plan)
    except ArgumentError as error:
        answer(error.__reduce__()[1])
        return
    answer(READY)
    for line in sys.stdin:
        job = json.loads(line)
        record = toys.fitted(segments, {**plan["choices"], **job["choices"]}, plan["data"])
        toys.write(Path(plan["folder"]) / f"{job['name']}.json", {**job, **record})
        answer(job["name"])


def started(plan: dict[str, Any]) -> Any:
    """The segments, once all that can be refused without them is accepted."""
    from optimize.problem import make_simulator
    from optimize.settings import make_settings

    choices = plan["choices"]
    if choices["backend"] == "torch":
        import torch

        torch.set_num_threads(1)
    simulator = make_simulator(make_settings({"input": "generated", **choices}))
    if plan["sample"] is None:
        return choices.pop("input")
    muons, protons = plan["sample"]
    return sample(muons, protons, detector=simulator.detector)


if __name__ == "__main__":
    main()
