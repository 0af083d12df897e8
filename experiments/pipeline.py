"""Steps of an experiment as commands, each done once: a pipeline that is started again goes on."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any


def run_step(command: str, folder: Path, overrides: Sequence[str]) -> dict:
    """Runs `python -m nas.<command>` into `folder` unless it has finished there, resuming it if it was
    stopped.

    Returns:
        The run's summary.

    Raises:
        SystemExit: the step failed; what it printed has been shown.
    """
    summary = read_summary(folder)
    if summary.get("status") == "finished":
        return summary
    arguments = (
        [f"resume={folder}"] if (folder / "config.yaml").exists() else [f"hydra.run.dir={folder}", *overrides]
    )
    print(f"{folder}: python -m nas.{command} {' '.join(arguments)}", flush=True)
    done = subprocess.run([sys.executable, "-m", f"nas.{command}", *arguments], check=False)
    if done.returncode:
        raise SystemExit(
            f"{folder}: nas.{command} ended with status {done.returncode}; start again to continue"
        )
    return read_summary(folder)


def read_summary(folder: Path) -> dict:
    """The summary of a run folder; empty if there is none."""
    path = folder / "summary.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation of at least two values, as text."""
    if len(values) < 2:
        return f"{values[0]:.2f} (n = 1)" if values else "none"
    return f"{statistics.mean(values):.2f} +- {statistics.stdev(values):.2f} (n = {len(values)})"


def markdown(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows of equal keys as a Markdown table."""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    return (
        "\n".join(lines + ["| " + " | ".join(str(row[name]) for name in names) + " |" for row in rows]) + "\n"
    )


def run_all(items: Sequence, run: Callable[[Any], Any], begun: Callable[[Any], Any], jobs: int) -> list[str]:
    """Runs what has not finished, several at a time; what has begun goes first.

    Args:
        items: what to run.
        run: runs one of them; SystemExit says that it failed.
        begun: whether one has been started before.
        jobs: how many at a time.

    Returns:
        One line for each that failed. The others run all the same.
    """
    ordered = sorted(items, key=lambda item: not begun(item))
    failed = []
    with ThreadPoolExecutor(jobs) as pool:
        waiting = [pool.submit(run, item) for item in ordered]
        try:
            for future in as_completed(waiting):
                error = future.exception()
                if isinstance(error, SystemExit):
                    failed.append(str(error))
                elif error is not None:
                    raise error
        except BaseException:
            # After Ctrl-C, which the runs get too, nothing new begins.
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return failed


def finish(folder: Path, run: Callable[[], list[str]], record: Callable[[], None]) -> None:
    """Runs all steps, then sums up what there is.

    Args:
        folder: of the experiment, named when it is stopped.
        run: runs the steps and returns a line for each that failed.
        record: sums up; after Ctrl-C nothing is.

    Raises:
        SystemExit: with status 130 after Ctrl-C, and with the lines of what failed.
    """
    # Libraries below torch have threads of their own, and two runs share the cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        failed = run()
    except KeyboardInterrupt:
        print(f"{folder}: stopped; the same command goes on", flush=True)
        raise SystemExit(130) from None
    record()
    if failed:
        raise SystemExit("\n".join(failed))
