"""The notebooks: stored as pages to read, executed from end to end, and stopped as one stops them."""

import ast
import json
import os
import re
import sys
import time
from pathlib import Path

import pytest

from tests.forks import finish
from tests.test_readme import anchors

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "examples/notebooks").glob("*.ipynb"))
# What the cell tagged `parameters` says, made small.
STEPS = ["trainer.limit_train_batches=2", "trainer.limit_val_batches=1"]
SMALL = {
    "first_search": {"search_epochs": 1, "training_epochs": 1, "more": STEPS},
    "own_data": {
        "classes": 4,
        "per_class": 20,
        "search_epochs": 2,
        "training_epochs": 1,
        "more": [*STEPS, "space.num_nodes=2", "space.init_channels=2", "dataset.batch_size=16"],
    },
    "read_a_search": {"epochs": 2, "more": [*STEPS, "space.num_nodes=2", "dataset.batch_size=16"]},
}


def cells(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def source(cell):
    return "".join(cell["source"])


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """A notebook's kernel, in a folder of its own: `kernel(cells) -> client` executes them."""
    nbclient = pytest.importorskip("nbclient", reason="the extra `dev` is not installed")
    pytest.importorskip("ipykernel", reason="the extra `notebooks` is not installed")
    import nbformat

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("NAS_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.delenv("CI", raising=False)

    def execute(book):
        found = nbformat.reads(json.dumps(book), as_version=4)
        nbformat.validate(found)
        nbclient.NotebookClient(found, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
        return found

    return execute


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_as_a_page(path):
    """Without outputs; its code is Python, the tests set its parameters, its links lead somewhere."""
    found = cells(path)
    assert found[0]["cell_type"] == "markdown" and source(found[0]).startswith("# ")
    code = [cell for cell in found if cell["cell_type"] == "code"]
    assert not [cell for cell in code if cell["outputs"] or cell["execution_count"] is not None]
    assert len(found) - len(code) >= len(code) // 2 + 1 and "```" not in "".join(map(source, found))
    assert len({cell["id"] for cell in found}) == len(found)
    (given,) = [cell for cell in code if cell["metadata"].get("tags") == ["parameters"]]
    names = {name.id for name in ast.walk(ast.parse(source(given))) if isinstance(name, ast.Name)}
    assert set(SMALL[path.stem]) <= names
    for cell in code:
        ast.parse(source(cell))
    for cell in found:
        for target in re.findall(r"\]\(([^)\s]+)\)", source(cell)):
            name, _, anchor = target.partition("#")
            file = (path.parent / name).resolve()
            assert file.exists() and (not anchor or anchor in anchors(file)), target


def small(path):
    """The notebook with a cell behind its parameters that makes them small, as papermill puts one there."""
    book = json.loads(path.read_text(encoding="utf-8"))
    (place,) = [i for i, cell in enumerate(book["cells"]) if cell["metadata"].get("tags") == ["parameters"]]
    code = "".join(f"{name} = {value!r}\n" for name, value in SMALL[path.stem].items())
    injected = {"cell_type": "code", "id": "injected", "metadata": {}, "source": code}
    book["cells"].insert(place + 1, injected | {"outputs": [], "execution_count": None})
    return book


SHELL = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
for cell in json.loads(sys.argv[1])["cells"]:
    if cell["cell_type"] == "code":
        shell.run_cell("".join(cell["source"])).raise_error()
"""


def test_the_first_notebook_runs_cell_by_cell(tmp_path):
    """In IPython, without a kernel's start."""
    pytest.importorskip("IPython", reason="the extra `notebooks` is not installed")
    path = ROOT / "examples/notebooks/first_search.ipynb"
    environment = os.environ | {
        "NAS_OUTPUTS": str(tmp_path / "outputs"),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "OMP_NUM_THREADS": "1",
    }
    words = [sys.executable, "-c", SHELL, json.dumps(small(path))]
    done = finish(words, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "of the test pictures" in done.stdout and "a 4: read as" in done.stdout
    assert "epoch 0 (1/1)" in done.stdout and "'weight_loss': " in done.stdout


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_in_a_kernel(path, kernel, tmp_path):
    book = kernel(small(path))
    shown = [one for cell in book["cells"] if cell["cell_type"] == "code" for one in cell["outputs"]]
    kinds = {kind for one in shown for kind in one.get("data", ())}
    said = "".join(one.get("text") or one.get("data", {}).get("text/plain", "") for one in shown)
    assert "Warning" not in said
    if path.stem == "first_search":
        # A bar that changes in its place, and the lines of the epochs above it.
        assert {"text/html", "application/vnd.jupyter.widget-view+json"} <= kinds
        assert "epoch 0 (1/1)" in said and "of the test pictures" in said and "a 4: read as" in said
    elif path.stem == "own_data":
        assert "image/svg+xml" in kinds and "predict:    python -m nas.predict model=" in said
        # The derivation was asked to print nothing.
        assert "best within budget" not in said
        assert (tmp_path / "outputs/digits.onnx").stat().st_size > 1000
    else:
        assert {"image/svg+xml", "image/png"} <= kinds and "evolution.png" in said and "epoch 1: " in said


SEARCH = """
import nas

found = nas.run_search(
    "digits", epochs={epochs}, batch_size=16, folder="{folder}", seed=3,
    overrides=["space.num_cells=3", "space.num_nodes=2", "space.init_channels=2", "hardware.threads=1",
               "trainer.limit_train_batches=2", "trainer.limit_val_batches=1"],
)
"""


def test_the_stop_button_leaves_a_search_that_goes_on(tmp_path, monkeypatch):
    """SIGINT to a real kernel; the call in the message continues the search, bit by bit."""
    manager = pytest.importorskip("jupyter_client.manager", reason="the extra `dev` is not installed")
    pytest.importorskip("ipykernel", reason="the extra `notebooks` is not installed")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    kernel = manager.KernelManager(kernel_name="python3")
    kernel.start_kernel(cwd=str(tmp_path))
    client = kernel.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        asked = client.execute(SEARCH.format(epochs=20, folder="stopped"))
        wait_for(client, r"epoch 1 \(2/20\)")
        kernel.interrupt_kernel()
        reply = reply_to(client, asked)
        assert (reply["status"], reply["ename"]) == ("error", "Interrupted")
        (call,) = re.findall(r"nas\.resume\(.*\)", reply["evalue"])
        done = json.loads((tmp_path / "stopped/summary.json").read_text())
        assert done["status"] == "stopped" and 1 <= done["epochs"] < 20
        # What is pasted into the next cell; the kernel has gone on.
        assert executed(client, f"{call}.status") == "'finished'"
        assert executed(client, f"{SEARCH.format(epochs=20, folder='whole')}\nfound.status") == "'finished'"
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)
    for name in ("architecture.csv", "genotype.json"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def reply_to(client, asked, seconds=120):
    """How the cell ended; what the kernel was asked before that is passed over."""
    while True:
        message = client.get_shell_msg(timeout=seconds)
        if message["parent_header"].get("msg_id") == asked:
            return message["content"]


def wait_for(client, pattern, seconds=120):
    """Waits until what fits appears below the cell that runs."""
    said, end = "", time.monotonic() + seconds
    while not re.search(pattern, said):
        assert time.monotonic() < end, said
        content = client.get_iopub_msg(timeout=seconds)["content"]
        assert "ename" not in content, content
        said += content.get("text") or content.get("data", {}).get("text/plain", "")


def executed(client, code, seconds=120):
    """The value of a cell's last line, as text."""
    values = []
    reply = client.execute_interactive(
        code,
        timeout=seconds,
        output_hook=lambda message: values.append(message["content"].get("data", {}).get("text/plain")),
    )
    assert reply["content"]["status"] == "ok", reply["content"]
    return next(value for value in reversed(values) if value is not None)
