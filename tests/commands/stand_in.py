"""A job that ends within milliseconds, in place of a search, in sweeps that start a process a job.

It is a `sitecustomize`, which every Python of the sweep loads as it starts: where the process is to be a job,
it takes over. A job of seed 13 is killed, one of 14 cannot start, one of 15 takes a minute unless resumed.
"""

import json

JOB = """
import sys

def job(words):
    import json, os, pathlib, signal, time
    given = dict(word.split("=", 1) for word in words if word != "resume=null")
    folder = pathlib.Path(given.get("resume", given["hydra.run.dir"]).strip('"'))
    seed = int(given.get("seed", 0))
    print("a word of the job", flush=True)
    state = {"status": "running", "command": "search", "epochs": 3}
    (folder / "config.yaml").write_text("command: search")
    (folder / "summary.json").write_text(json.dumps(state))
    names = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    seen = {name: os.environ.get(name) for name in names}
    seen |= {"resumed": "resume" in given, "begin": time.monotonic()}
    if seed == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    if seed == 14:
        print("no such library", flush=True)
        os._exit(1)
    time.sleep(60 if seed == 15 and not seen["resumed"] else 0.3)
    (folder / "seen.json").write_text(json.dumps(seen | {"end": time.monotonic()}))
    done = {"status": "finished", "num_skip": seed}
    (folder / "summary.json").write_text(json.dumps(state | done))
    os._exit(0)

if any(word.startswith("hydra.job.num=") for word in sys.orig_argv):
    try:
        job(sys.orig_argv[3:])
    finally:
        import os
        os._exit(99)  # never the real job
"""


def summary(folder):
    """What a job has written last."""
    return json.loads((folder / "summary.json").read_text())


def seen(folder):
    """The environment and the times of a stand-in that came to its end."""
    return json.loads((folder / "seen.json").read_text())
