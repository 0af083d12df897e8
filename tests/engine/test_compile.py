"""`hardware.compile`: a pass of a search is one graph for torch's compiler, and the same numbers.

No code is generated here, which takes a compiler minutes: tested is that Python is never gone back to.
"""

import pytest
import torch
from torch import _dynamo as dynamo

from nas.methods.functional import frozen
from tests.engine.whole_steps import SEARCHES, search_steps

SMALL = (*SEARCHES["drnas_nb201"], "space.operations=[none,skip_connect,nor_conv_1x1]")
PASSES = {
    "drnas_nb201, small": (SMALL, "eager"),
    "drnas_nb201": (SEARCHES["drnas_nb201"], "aot_eager"),
    "darts1": (SEARCHES["darts1"], "aot_eager"),
}


@pytest.fixture(autouse=True)
def forgotten():
    """What was compiled for one test is none's afterwards."""
    dynamo.reset()
    yield
    dynamo.reset()


@pytest.mark.parametrize("name", PASSES)
def test_a_pass_with_its_draw_and_loss_is_one_graph(name):
    overrides, backend = PASSES[name]
    losses, gradients = [], []
    for compiled in (True, False):
        steps = search_steps(overrides, wide=True)

        def loss_of(batch, steps=steps):
            return steps.taken.run(batch).loss

        run = torch.compile(loss_of, fullgraph=True, backend=backend) if compiled else loss_of
        torch.manual_seed(1)
        with frozen(steps.alphas):
            loss = run(steps.weight_batch)
        loss.backward()
        losses.append(loss.detach())
        gradients.append([weight.grad for weight in steps.weights if weight.grad is not None])
    torch.testing.assert_close(*losses, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


def test_steps_of_weights_and_alpha_run_on_a_compiled_network_without_a_break():
    plain, compiled = (search_steps(SMALL, wide=True) for _ in range(2))
    # As `hardware.compile` does, and an error wherever the compiler would go back to Python.
    compiled.supernet.compile(fullgraph=True, backend="eager")
    for index in range(2):
        for steps in (plain, compiled):
            torch.manual_seed(index)
            steps.search()
    torch.testing.assert_close(compiled.weights, plain.weights, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(compiled.alphas, plain.alphas, rtol=1e-5, atol=1e-6)


def test_a_break_would_be_an_error():
    steps = search_steps(SMALL, wide=True)
    steps.supernet.stem.register_forward_hook(lambda module, given, made: dynamo.graph_break())
    steps.supernet.compile(fullgraph=True, backend="eager")
    with pytest.raises(dynamo.exc.Unsupported):
        steps.weight()
