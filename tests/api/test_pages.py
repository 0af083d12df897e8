"""The code on the pages about Python runs as it stands, at a small size."""

import re

import numpy as np
import pytest
from PIL import Image

import nas
from nas.genotype import load
from nas.spaces.space import ImageInputs
from tests.api import small
from tests.api.test_examples import example
from tests.conftest import ROOT


def blocks(page):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def tiny_calls(monkeypatch):
    """The functions that train, with the smallest sizes besides what a page says."""
    for name, words in (("run_search", small.WORDS), ("run_evaluation", small.STEPS)):
        real = getattr(nas, name)

        def call(*given, real=real, words=words, **options):
            more = ["method.warmup_epochs=0"] if options.get("method") == "drnas" else []
            words = [*options.pop("overrides", []), *words, *more]
            return real(*given, **{**options, "epochs": 1, "batch_size": 8}, verbose=False, overrides=words)

        monkeypatch.setitem(vars(nas), name, call)
    real_derive = nas.SearchResult.derive
    monkeypatch.setattr(
        nas.SearchResult, "derive", lambda run, **given: real_derive(run, samples=20, **given)
    )


def test_the_page_of_python(tiny_calls, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    numbers = np.random.default_rng(0)
    for index in range(60):
        place = tmp_path / "pets" / ["cat", "dog"][index % 2]
        place.mkdir(parents=True, exist_ok=True)
        name = place / f"{1 if index < 2 else index}.png"
        Image.fromarray(numbers.integers(0, 256, (16, 16, 3), np.uint8)).save(name)
    space = {}
    first, *others = blocks("python.md")
    assert len(others) == 2 and len(first.splitlines()) <= 12
    exec(first, space)
    assert capsys.readouterr().out.split()[-1] in ("cat", "dog") and (tmp_path / "pets.onnx").is_file()
    assert space["cell"].candidates[0]["params"] <= 2e6
    for block in others:
        exec(block, space)
    assert space["data"].notes["image_shape"] == [3, 32, 32]
    assert space["result"].status == "finished"


def test_the_page_of_loops_is_the_examples():
    """Its blocks are lines of the examples, which have tests of their own."""
    loop, layers = blocks("own_loop.md")
    own, module = example("own_loop"), example("cell_as_layer")
    inputs = ImageInputs((1, 8, 8), 10)
    space, step = own.build(inputs)
    given = {**vars(own), "space": space, "method": step.method, "inputs": inputs, "batches": []}
    exec(loop, given)
    assert given["genotype"].space == "nasbench201"
    given = {**vars(module), "load": load}
    exec(layers, given)
    assert given["second"].out_channels == 32
