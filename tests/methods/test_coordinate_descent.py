"""One level by turns: equal to a literal version in float64, on all images, a batch for each turn."""

import copy
import json

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from torch.nn import functional as F

from experiments.methods.matrix import configurations
from nas.data.digits import Digits
from nas.domains.choose import choose
from nas.running.config import CONF, instantiate, register_resolvers
from tests.methods.small_search import EPOCHS, SMALLEST, SmallSearch, smallest

WORDS = ("method.update=coordinate_descent", "dataset=digits", "debug=fast")


@pytest.fixture(scope="module")
def searched():
    """A finished search of four turns, and what it began with."""
    with configurations(*SMALLEST) as configs:
        config = smallest(configs, "darts1")
        config.method.update = {"_target_": "nas.methods.updates.CoordinateDescent"}
        search = SmallSearch(config)
        start = [value.detach().clone() for value in (*search.step.weights, *search.step.alphas)]
        literal = Literal(search, config)
        rates = []
        for _ in range(EPOCHS):
            rates.append(search.optimizers[0].param_groups[0]["lr"])
            search.epoch()
    return search, start, literal, rates


class Literal:
    """The two turns written down: Adam with coupled decay for alpha, SGD with momentum for the weights."""

    def __init__(self, search, config):
        self.network = copy.deepcopy(search.module.supernet)
        self.weights = list(self.network.parameters())
        self.alpha = search.step.alphas[0].detach().clone().requires_grad_()
        self.of_alpha, self.of_weights = config.method.architecture_optimizer, config.method.weight_optimizer
        self.clip = config.method.clip
        self.first = self.second = torch.zeros_like(self.alpha)
        self.momenta = [None] * len(self.weights)
        self.count = 0

    def loss(self, batch):
        images, labels = batch
        return F.cross_entropy(self.network(images, {"cell": self.alpha.softmax(-1)}), labels)

    def turn_of_alpha(self, batch):
        (gradient,) = torch.autograd.grad(self.loss(batch), [self.alpha])
        gradient = gradient + self.of_alpha.weight_decay * self.alpha.detach()
        self.count += 1
        one, two = self.of_alpha.betas
        self.first = one * self.first + (1 - one) * gradient
        self.second = two * self.second + (1 - two) * gradient**2
        mean, square = self.first / (1 - one**self.count), self.second / (1 - two**self.count)
        with torch.no_grad():
            self.alpha -= self.of_alpha.lr * mean / (square.sqrt() + 1e-8)

    def turn_of_weights(self, batch, rate):
        gradients = torch.autograd.grad(self.loss(batch), self.weights, allow_unused=True)
        gradients = [
            torch.zeros_like(w) if g is None else g for w, g in zip(self.weights, gradients, strict=True)
        ]
        norm = torch.sqrt(sum((g**2).sum() for g in gradients))
        share = min(1.0, self.clip / (float(norm) + 1e-6))
        for at, (weight, gradient) in enumerate(zip(self.weights, gradients, strict=True)):
            gradient = share * gradient + self.of_weights.weight_decay * weight.detach()
            before = self.momenta[at]
            self.momenta[at] = gradient if before is None else self.of_weights.momentum * before + gradient
            with torch.no_grad():
                weight -= rate * self.momenta[at]


def test_turns_are_those_of_a_literal_version_in_double_precision(searched):
    search, start, literal, rates = searched
    for rate in rates:
        literal.turn_of_alpha(search.batches[1])
        literal.turn_of_weights(search.batches[0], rate)
    own = [*search.step.weights, *search.step.alphas]
    for found, expected in zip(own, [*literal.weights, literal.alpha], strict=True):
        assert found.dtype == torch.float64
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    assert (search.step.alphas[0] - start[-1]).abs().max() > 1e-2


@pytest.fixture
def composed():
    register_resolvers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield lambda *words: compose("search", list(words))
    GlobalHydra.instance().clear()


@pytest.mark.parametrize("update", ["coordinate_descent", "joint", "first_order"])
def test_both_turns_have_all_images_where_there_is_one_level(update, composed):
    config = composed("dataset=digits", f"method.update={update}")
    space, source = instantiate(config.space), Digits()
    method = instantiate(config.method, shapes={name: one.shape for name, one in space.groups.items()})
    data = choose(space, source).search_data(config, source, method)
    data.prepare()
    parts = [set(part.tolist()) for part in (data.split.weight, data.split.architecture)]
    whole = set(range(len(source.train(False))))
    if update == "first_order":
        assert not parts[0] & parts[1] and parts[0] | parts[1] == whole
    else:
        assert parts == [whole, whole]
    loaders = data.train_dataloader().iterables
    first = [next(iter(loaders[name]))[0] for name in ("weight", "architecture")]
    assert not torch.equal(*first)
    assert method.update.name == update


def test_a_search_by_turns_records_both_and_derives(run, tmp_path):
    done = run("search", *WORDS, f"hydra.run.dir={tmp_path}")
    assert done.status == 0, done.err
    header = (tmp_path / "metrics.csv").read_text().partition("\n")[0]
    assert "architecture_step_loss" in header
    assert json.loads((tmp_path / "summary.json").read_text())["genotype"].startswith("Genotype(")
