"""The steps of `SearchModule` are those of algorithm 1, computed by hand on the same batches."""

import copy
from types import SimpleNamespace

import pytest
import torch

from nas.engine.search_module import SearchModule
from nas.engine.tasks import Classification
from nas.methods.layout import layout_of
from nas.methods.updates import Bilevel
from nas.spaces.darts.space import DartsSpace
from nas.spaces.space import ImageInputs
from tests.methods.flat import flat_method, update_of

SPACE = {
    "num_cells": 3,
    "init_channels": 2,
    "operations": ["none", "skip_connect", "sep_conv_3x3", "max_pool_3x3"],
}


def build(update, clip=None, warmup_epochs=0):
    torch.manual_seed(0)
    space = DartsSpace(name="darts", **SPACE)
    supernet = space.supernet(ImageInputs((1, 8, 8), 10)).double()
    method = flat_method(
        "m",
        {name: group.shape for name, group in space.groups.items()},
        update=update,
        clip=clip,
        warmup_epochs=warmup_epochs,
        layout=layout_of(space.groups),
        weight_optimizer=lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-3),
        weight_scheduler=lambda o: torch.optim.lr_scheduler.StepLR(o, 100),
        architecture_optimizer=lambda p: torch.optim.Adam(p, lr=0.1),
    ).double()
    module = SearchModule(supernet, method, Classification())
    module.log = module.log_dict = lambda *args, **kwargs: None
    optimizers = module.configure_optimizers()[0]
    module.optimizers = lambda use_pl_optimizer=True: optimizers
    module.manual_backward = lambda loss: loss.backward()
    module.clip_gradients = lambda optimizer, gradient_clip_val, gradient_clip_algorithm: (
        torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], gradient_clip_val)
    )
    module._trainer = SimpleNamespace(world_size=1, current_epoch=0, global_step=0)
    return module


def batch(seed):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(6, 1, 8, 8, generator=generator, dtype=torch.float64)
    return images, torch.randint(0, 10, (6,), generator=generator)


def steps(module, number=2):
    for step in range(number):
        module.training_step({"weight": batch(2 * step), "architecture": batch(2 * step + 1)}, step)


@pytest.fixture(autouse=True)
def no_trainer_checks(monkeypatch):
    monkeypatch.setattr(SearchModule, "trainer", property(lambda self: self._trainer))
    monkeypatch.setattr(SearchModule, "current_epoch", property(lambda self: self._trainer.current_epoch))


@pytest.mark.parametrize("update", ["first_order", "unrolled"])
def test_two_steps_by_hand(update):
    module = build(update)
    hand = copy.deepcopy(module.supernet)
    alphas = [a.detach().clone().requires_grad_() for a in module.method.alphas()]
    names = list(module.method.alpha)
    weights = list(hand.parameters())
    sgd = torch.optim.SGD(weights, lr=0.1, momentum=0.9, weight_decay=1e-3)
    adam = torch.optim.Adam(alphas, lr=0.1)

    def loss(data):
        op_weights = {name: alpha.softmax(-1) for name, alpha in zip(names, alphas, strict=True)}
        return torch.nn.functional.cross_entropy(hand(data[0], op_weights), data[1])

    for step in range(2):
        problem = Bilevel(loss, hand, weights, alphas, sgd)
        rule = update_of(update)
        found = rule.gradient(problem, batch(2 * step), batch(2 * step + 1))
        for alpha, gradient in zip(alphas, found.gradients, strict=True):
            alpha.grad = gradient
        adam.step()
        sgd.zero_grad()
        loss(batch(2 * step)).backward()
        sgd.step()
    steps(module)
    for ours, theirs in zip(module.method.alphas(), alphas, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)
    for (name, ours), theirs in zip(
        module.supernet.state_dict().items(), hand.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12, msg=name)
    assert module.iteration == 2


@pytest.mark.parametrize("update", ["first_order", "unrolled"])
def test_the_architecture_step_leaves_weights_alone(update):
    module = build(update)
    before = [w.detach().clone() for w in module.weights]
    alphas = [a.detach().clone() for a in module.method.alphas()]
    module._architecture_step(batch(0), batch(1))
    assert all(torch.equal(a, b) for a, b in zip(before, module.weights, strict=True))
    assert all(w.grad is None for w in module.weights)
    assert not any(torch.equal(a, b) for a, b in zip(alphas, module.method.alphas(), strict=True))


def test_the_weight_step_leaves_alpha_alone():
    module = build("first_order")
    alphas = [a.detach().clone() for a in module.method.alphas()]
    module._weight_step(batch(0))
    assert all(torch.equal(a, b) for a, b in zip(alphas, module.method.alphas(), strict=True))
    assert all(a.grad is None and a.requires_grad for a in module.method.alphas())


def test_alpha_rests_during_warmup():
    module = build("first_order", warmup_epochs=1)
    alphas = [a.detach().clone() for a in module.method.alphas()]
    steps(module)
    assert all(torch.equal(a, b) for a, b in zip(alphas, module.method.alphas(), strict=True))
    module._trainer.current_epoch = 1
    steps(module)
    assert not any(torch.equal(a, b) for a, b in zip(alphas, module.method.alphas(), strict=True))


def test_clipping_concerns_weights_only():
    free, clipped = build("first_order"), build("first_order", clip=1e-6)
    start = [w.detach().clone() for w in free.weights]
    steps(free, 1)
    steps(clipped, 1)
    for a, b in zip(free.method.alphas(), clipped.method.alphas(), strict=True):
        assert torch.equal(a, b)
    # What is left is weight decay: lr * decay * |w|, far below an unclipped step.
    moved = [torch.linalg.vector_norm(w - s) for w, s in zip(clipped.weights, start, strict=True)]
    decayed = [1e-4 * torch.linalg.vector_norm(s) + 1e-6 for s in start]
    assert all(m <= d for m, d in zip(moved, decayed, strict=True))
