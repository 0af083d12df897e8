"""A search on text: states are carried, rates follow lengths, and second order clips as the authors do."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F
from torch.optim.lr_scheduler import ConstantLR

from nas.data.text_segments import SearchSegment, Segment
from nas.engine.search_module import LanguageSearch, SearchModule, search_module
from nas.engine.tasks import Classification, Language, TextBatch
from nas.methods.functional import twice_differentiable
from nas.methods.layout import layout_of
from nas.methods.updates import Bilevel
from nas.spaces.recurrent.space import RecurrentSpace
from nas.spaces.space import TextInputs
from tests.methods.flat import flat_method, update_of

WORDS, COLUMNS, STEPS = 11, 3, 4


def segments(number, first_length=STEPS):
    """Search segments of made-up text, the first as long as told."""
    generator = torch.Generator().manual_seed(1)

    def segment(length, first):
        tokens = torch.randint(WORDS, (length + 1, COLUMNS), generator=generator)
        return Segment(tokens[:-1], tokens[1:], length / STEPS, first)

    lengths = [first_length] + [STEPS] * (number - 1)
    return [SearchSegment(segment(n, i == 0), segment(STEPS, i == 0)) for i, n in enumerate(lengths)]


def build(monkeypatch, update="first_order", operations=("none", "tanh", "sigmoid"), dropout=0.0, **settings):
    torch.manual_seed(0)
    space = RecurrentSpace(
        "darts_rnn", operations, 2, 5, dropout_input=dropout, dropout_hidden=dropout, dropout_x=dropout,
        dropout_output=dropout,
    )  # fmt: skip
    method = flat_method(
        "m",
        {name: group.shape for name, group in space.groups.items()},
        update=update,
        layout=layout_of(space.groups),
        weight_optimizer=partial(torch.optim.SGD, lr=2.0, weight_decay=1e-2),
        weight_scheduler=partial(ConstantLR, factor=1.0),
        architecture_optimizer=partial(torch.optim.Adam, lr=0.1),
        **settings,
    ).double()
    module = search_module(space.supernet(TextInputs(WORDS)).double(), method, Language(tar=0.5))
    assert isinstance(module, LanguageSearch)
    module.log = module.log_dict = lambda *args, **kwargs: None
    optimizers = module.configure_optimizers()[0]
    module.optimizers = lambda use_pl_optimizer=True: optimizers
    module.manual_backward = lambda loss: loss.backward()
    module._trainer = SimpleNamespace(world_size=1, current_epoch=0, global_step=0)
    monkeypatch.setattr(SearchModule, "trainer", property(lambda self: self._trainer))
    monkeypatch.setattr(SearchModule, "current_epoch", property(lambda self: self._trainer.current_epoch))
    return module


def test_images_are_searched_by_the_plain_module(monkeypatch):
    module = build(monkeypatch)
    assert type(search_module(module.supernet, module.method, Classification())) is SearchModule


def test_two_steps_by_hand(monkeypatch):
    module = build(monkeypatch)
    supernet, (alpha,) = module.supernet, module.method.alphas()
    hand = build(monkeypatch).supernet
    theirs = alpha.detach().clone().requires_grad_()
    weights = list(hand.parameters())
    sgd = torch.optim.SGD(weights, lr=2.0, weight_decay=1e-2)
    adam = torch.optim.Adam([theirs], lr=0.1)
    states = {"weight": None, "architecture": None}
    for batch in segments(2, first_length=2):
        logits, hidden, _ = hand(
            batch.architecture.tokens_LB, {"recurrent": theirs.softmax(-1)}, states["architecture"]
        )
        loss = F.cross_entropy(logits.flatten(0, 1), batch.architecture.targets_LB.flatten())
        (theirs.grad,) = torch.autograd.grad(loss, theirs)
        states["architecture"] = hidden.detach()
        adam.step()
        logits, hidden, extras = hand(
            batch.weight.tokens_LB, {"recurrent": theirs.detach().softmax(-1)}, states["weight"]
        )
        slow = 0.5 * (extras.raw_TBH[1:] - extras.raw_TBH[:-1]).square().mean()
        sgd.zero_grad()
        (F.cross_entropy(logits.flatten(0, 1), batch.weight.targets_LB.flatten()) + slow).backward()
        states["weight"] = hidden.detach()
        sgd.param_groups[0]["lr"] = 2.0 * len(batch.weight.tokens_LB) / STEPS
        sgd.step()
    for index, batch in enumerate(segments(2, first_length=2)):
        module.training_step(batch, index)
    torch.testing.assert_close(alpha, theirs)
    for (name, ours), expected in zip(supernet.state_dict().items(), hand.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, expected, msg=name)
    # The rate of a short segment was for its step alone.
    assert module.optimizers()[0].param_groups[0]["lr"] == 2.0


def test_an_epoch_starts_with_no_state(monkeypatch):
    module = build(monkeypatch)
    first, second = segments(2)
    module.training_step(first, 0)
    weight, architecture = module.parts(second)
    assert weight.hidden_1BH is not None and architecture.hidden_1BH is not None
    assert not weight.hidden_1BH.requires_grad
    weight, architecture = module.parts(first)
    assert weight.hidden_1BH is None and architecture.hidden_1BH is None


def test_validation_has_a_state_of_its_own(monkeypatch):
    module = build(monkeypatch)
    first, second = (batch.weight for batch in segments(2))
    module.training_step(segments(1)[0], 0)
    before = module.parts(segments(2)[1])[0].hidden_1BH.clone()
    module.eval()
    seen = []
    module.log = lambda name, value, **kwargs: seen.append(float(value))
    module.validation_step(first, 0)
    module.validation_step(second, 1)
    supernet, weights = module.supernet, module.method.op_weights()
    tokens = torch.cat([first.tokens_LB, second.tokens_LB])
    targets = torch.cat([first.targets_LB, second.targets_LB])
    with torch.no_grad():
        logits = supernet(tokens, weights)[0]
    expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    assert sum(seen) / 2 == pytest.approx(float(expected))
    torch.testing.assert_close(module.parts(segments(2)[1])[0].hidden_1BH, before)


def transcription(module, train, valid, clip):
    """The authors' second order for recurrent cells, with torch's double backward for their difference."""
    supernet, (alpha,) = module.supernet, module.method.alphas()
    names, weights = zip(*supernet.named_parameters(), strict=True)
    rate, decay = 2.0, 1e-2

    def loss(parameters, batch):
        out = torch.func.functional_call(
            supernet,
            dict(zip(names, parameters, strict=True)),
            (batch.tokens_LB, {"recurrent": alpha.softmax(-1)}),
        )
        return F.cross_entropy(out[0].flatten(0, 1), batch.targets_LB.flatten())

    def clipped(gradients):
        norm = torch.cat([g.flatten() for g in gradients]).norm()
        share = min(1.0, float(clip / (norm + 1e-6)))
        return [g * share for g in gradients], share

    with twice_differentiable(supernet):
        first = torch.autograd.grad(loss(weights, train), weights, create_graph=True)
        step, share = clipped([g.detach() for g in first])
        moved = [
            (w - rate * (g + decay * w)).detach().requires_grad_() for w, g in zip(weights, step, strict=True)
        ]
        direct, *vector = torch.autograd.grad(loss(moved, valid), [alpha, *moved])
        vector, _ = clipped(vector)
        inner = sum((g * v).sum() for g, v in zip(first, vector, strict=True))
        (implicit,) = torch.autograd.grad(inner, alpha)
    return direct - rate * share * implicit, share


@pytest.mark.parametrize("clip", [0.05, 100.0])
def test_second_order_with_the_authors_clipping(monkeypatch, clip):
    module = build(monkeypatch)
    batch = segments(1)[0]
    train, valid = module.parts(batch)
    expected, share = transcription(module, train, valid, clip)
    assert (share < 1) == (clip < 1)
    problem = Bilevel(
        module.loss, module.supernet, module.weights, module.method.alphas(), module.optimizers()[0]
    )
    for implicit, tolerance in (("exact", 1e-9), ("finite_difference", 2e-3)):
        rule = update_of("unrolled", implicit=implicit, epsilon=1e-3, virtual_clip=clip)
        (found,) = rule.gradient(problem, train, valid).gradients
        assert float((found - expected).norm() / expected.norm()) < tolerance
    # Without the clipping the direction is another one.
    (plain,) = update_of("unrolled", implicit="exact", epsilon=1e-3).gradient(problem, train, valid).gradients
    assert torch.allclose(plain, expected, rtol=1e-6) == (share == 1)


def test_a_piece_of_one_step_has_no_change_to_penalise(monkeypatch):
    module = build(monkeypatch)
    batch = TextBatch(torch.ones(1, COLUMNS, dtype=torch.int64), torch.zeros(1, COLUMNS, dtype=torch.int64))
    result = module.task.run(module.supernet, batch, module.method.op_weights())
    assert result.penalty is None and result.size == COLUMNS
    assert torch.equal(result.objective, result.loss)


def test_second_order_steps_with_dropout_and_a_frozen_state(monkeypatch):
    module = build(monkeypatch, "unrolled", dropout=0.3, virtual_clip=0.25, clip=None)
    for index, batch in enumerate(segments(3)):
        module.training_step(batch, index)
    assert all(bool(a.isfinite().all()) for a in module.method.alphas())
    assert module.iteration == 3
