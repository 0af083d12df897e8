"""Training a language model from scratch: carried states, averaged descent, the way back, resuming."""

import copy
from functools import partial
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import ConstantLR, LinearLR

from nas.data.text_split import TextPart
from nas.engine.averaging import averaged_descent, averages, scaled, should_average, swapped
from nas.engine.checkpoints import EpochCheckpoints, list_checkpoints
from nas.engine.divergence import Diverged
from nas.engine.language_evaluation import LanguageEvaluation
from nas.engine.seeding import SeedEpochs
from nas.engine.tasks import Language
from nas.engine.text_data import TextEvaluationData
from nas.errors import ConfigError
from nas.genotype import Cell, Edge, Genotype
from nas.spaces.recurrent.space import RecurrentSpace
from nas.spaces.space import TextInputs

WORDS, STEPS, RATE, DECAY, CLIP = 7, 5, 20.0, 1e-5, 0.25
CONSTANT = partial(ConstantLR, factor=1.0, total_iters=0)
CELL = Cell(((Edge(0, "tanh"),), (Edge(0, "relu"),), (Edge(2, "identity"),)), (1, 2, 3), inputs=1)


def tokens(count, seed):
    """Words that mostly follow the one before, so that there is something to learn, and something not."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, 3, (count,), generator=generator).cumsum(0) % WORDS


class Follow(pl.Callback):
    """Spoils weights where it is told to, and keeps what each epoch ended with."""

    def __init__(self, spoil=()):
        self.spoil = set(spoil)
        self.valid, self.averaging, self.weights, self.before = [], [], [], {}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.before[trainer.current_epoch, batch_idx] = copied(pl_module.network)
        if (trainer.current_epoch, batch_idx) in self.spoil:
            pl_module.network.first.data[0] = torch.nan

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.weights.append((trainer.current_epoch, copied(pl_module.network)))

    def on_train_epoch_end(self, trainer, pl_module):
        numbers = trainer.callback_metrics
        self.valid.append(float(numbers["valid_loss"]))
        self.averaging.append(int(numbers["averaging"]))


def copied(network):
    return {name: parameter.detach().clone() for name, parameter in network.named_parameters()}


def data():
    return TextEvaluationData(
        SimpleNamespace(vocabulary_size=WORDS, test=lambda: tokens(61, 2)),
        batch_size=4,
        valid_batch_size=3,
        test_batch_size=1,
        bptt={"steps": STEPS, "half": 0.2, "deviation": 1.0, "shortest": 2, "longest": 9},
        seed=3,
        parts=(TextPart("train", 0, tokens(160, 0)), TextPart("valid", 0, tokens(70, 1))),
    )


def module(folder=None, schedule=CONSTANT, **changes):
    torch.manual_seed(0)
    space = RecurrentSpace("darts_rnn", hidden_size=6, dropout_embed=0.1, dropout_x=0.2, dropout_output=0.1)
    network = space.network(Genotype("darts_rnn", (("recurrent", CELL),)), TextInputs(WORDS))
    optimizer = partial(torch.optim.SGD, lr=RATE, weight_decay=DECAY)
    best = None if folder is None else folder / "best.pt"
    settings = {"nonmono": 2, "best_file": best, **changes}
    return LanguageEvaluation(network, Language(tar=1e-3), optimizer, schedule, **settings)


def trained(folder, epochs, follow=None, resume=None, **changes):
    """(module, trainer, what was followed) after training up to `epochs`."""
    follow = follow or Follow()
    built = module(folder, **changes)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        gradient_clip_val=CLIP,
        callbacks=[SeedEpochs(0), follow, EpochCheckpoints(folder, keep=99)],
        reload_dataloaders_every_n_epochs=1,
        logger=False,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(built, data(), ckpt_path=resume, weights_only=True)
    return built, trainer, follow


EPOCHS = 14
# In the epoch before the first validation that could begin the averaging, and long after.
SPOIL = ((2, 3), (12, 0))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was never stopped, in which descent was averaged and weights were spoilt twice."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, *trained(folder, EPOCHS, Follow(SPOIL))


def load(path):
    return torch.load(path, weights_only=True)


def measured(network, weights, stream_N, columns):
    """Cross-entropy a word of a text in columns, by hand: one product of all steps, no segments."""
    rows = len(stream_N) // columns
    text_TB = stream_N[: rows * columns].view(columns, rows).t()
    network = copy.deepcopy(network).eval()
    network.load_state_dict(weights)
    with torch.no_grad():
        logits_TBV, _, _ = network(text_TB[:-1])
    return F.cross_entropy(logits_TBV.flatten(0, 1), text_TB[1:].flatten()).item()


# --- the trigger --------------------------------------------------------------------------------------


def first_by_the_text(losses, nonmono):
    """The validation after which averaging begins, as algorithm 1 and the code say it word by word."""
    recorded = []
    for index, loss in enumerate(losses):
        if len(recorded) > nonmono:
            compared = [recorded[i] for i in range(len(recorded)) if i < len(recorded) - nonmono]
            if any(loss > one for one in compared):
                return index
        recorded.append(loss)
    return None


@given(st.lists(st.sampled_from([1.0, 2.0, 3.0, 4.0, 5.0]), max_size=20), st.integers(1, 6))
@settings(max_examples=300, deadline=None)
def test_the_trigger_is_that_of_the_paper(losses, nonmono):
    found = [i for i, loss in enumerate(losses) if should_average(losses[:i], loss, nonmono)]
    assert (found or [None])[0] == first_by_the_text(losses, nonmono)


def test_a_run_averages_after_the_trigger_and_not_before(whole):
    _, built, _, follow = whole
    begins = first_by_the_text(follow.valid, 2)
    assert 3 <= begins < SPOIL[1][0] - 1
    assert follow.averaging == [0] * (begins + 1) + [1] * (EPOCHS - begins - 1)
    assert built.valid_losses == follow.valid[: begins + 1]


# --- steps --------------------------------------------------------------------------------------------


def test_averaged_descent_by_hand():
    torch.manual_seed(0)
    weight_2 = nn.Parameter(torch.randn(2, dtype=torch.double))
    plain = torch.optim.SGD([weight_2], lr=0.5, weight_decay=0.1)
    optimizer = averaged_descent(plain)
    by_hand_2, iterates = weight_2.detach().clone(), []
    for factor in (1.0, 0.25, 2.0, 0.5):
        gradient_2 = torch.randn(2, dtype=torch.double)
        weight_2.grad = gradient_2.clone()
        with scaled(optimizer, factor):
            optimizer.step()
        by_hand_2 = by_hand_2 - 0.5 * factor * (gradient_2 + 0.1 * by_hand_2)
        iterates.append(by_hand_2)
        torch.testing.assert_close(weight_2.detach(), by_hand_2, rtol=1e-12, atol=0)
        assert optimizer.param_groups[0]["lr"] == 0.5
    # torch writes the second iterate over the first.
    mean_2 = torch.stack(iterates[1:]).mean(0)
    torch.testing.assert_close(averages(optimizer, {"w": weight_2})["w"], mean_2, rtol=1e-6, atol=0)


def test_scaled_rates_come_back_after_an_error():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    with pytest.raises(KeyError), scaled(optimizer, 3.0):
        assert optimizer.param_groups[0]["lr"] == 1.5
        raise KeyError
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_an_epoch_is_that_of_a_loop_by_hand(tmp_path):
    """State carried and detached, rates by length, clipping, TAR, weight decay, the mean of the losses."""
    built = module()
    network, optimizer = (
        built.network,
        torch.optim.SGD(built.network.parameters(), lr=RATE, weight_decay=DECAY),
    )
    source = data()
    loader = source.train_dataloader()
    SeedEpochs(0).on_train_epoch_start(SimpleNamespace(current_epoch=0, global_rank=0, world_size=1), None)
    hidden, total, count = None, 0.0, 0
    for segment in loader:
        logits, hidden, extras = network(segment.tokens_LB, hidden)
        hidden = hidden.detach()
        loss = F.cross_entropy(logits.flatten(0, 1), segment.targets_LB.flatten())
        total, count = total + loss.item() * len(segment.tokens_LB), count + len(segment.tokens_LB)
        optimizer.zero_grad()
        (loss + 1e-3 * (extras.raw_TBH[1:] - extras.raw_TBH[:-1]).pow(2).mean()).backward()
        nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimizer.param_groups[0]["lr"] = RATE * len(segment.tokens_LB) / STEPS
        optimizer.step()
    found, trainer, _ = trained(tmp_path, 1)
    assert len({len(segment.tokens_LB) for segment in loader}) > 1
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(found.network.get_parameter(name), parameter)
    assert float(trainer.callback_metrics["train_loss"]) == pytest.approx(total / count, rel=1e-5)
    assert trainer.optimizers[0].param_groups[0]["lr"] == RATE


def test_the_schedule_goes_on_where_averaging_begins(tmp_path):
    schedule = partial(LinearLR, start_factor=1.0, end_factor=0.5, total_iters=EPOCHS)
    _, trainer, follow = trained(tmp_path, EPOCHS, schedule=schedule)
    assert 1 in follow.averaging
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(RATE * 0.5)
    assert isinstance(trainer.optimizers[0], torch.optim.ASGD)


# --- validation and test ------------------------------------------------------------------------------


def test_validation_is_of_plain_weights_and_then_of_averaged_ones(whole):
    _, built, _, follow = whole
    switch = follow.averaging.index(1)
    plain = [weights for epoch, weights in follow.weights if epoch == switch - 1][-1]
    assert follow.valid[switch - 1] == pytest.approx(
        measured(built.network, plain, tokens(70, 1), 3), rel=1e-5
    )
    of_epoch = [weights for epoch, weights in follow.weights if epoch == switch]
    mean = {name: torch.stack([one[name] for one in of_epoch[1:]]).mean(0) for name in plain}
    assert follow.valid[switch] == pytest.approx(measured(built.network, mean, tokens(70, 1), 3), rel=1e-5)
    # Weights themselves go on from where they were.
    assert follow.valid[switch] != pytest.approx(
        measured(built.network, of_epoch[-1], tokens(70, 1), 3), rel=1e-5
    )


def test_the_best_weights_are_kept_and_tested(whole):
    folder, built, trainer, follow = whole
    stored = load(folder / "best.pt")
    assert stored["epoch"] == built.best["epoch"] == follow.valid.index(min(follow.valid))
    assert stored["valid_loss"] == min(follow.valid)
    valid = measured(built.network, stored["weights"], tokens(70, 1), 3)
    assert valid == pytest.approx(min(follow.valid), rel=1e-5)
    assert [path.name for path in folder.iterdir() if path.suffix != ".ckpt"] == ["best.pt"]
    before = copied(built.network)
    trainer.test(built, datamodule=data(), verbose=False)
    numbers = {name: float(value) for name, value in trainer.callback_metrics.items()}
    expected = measured(built.network, stored["weights"], tokens(61, 2), 1)
    assert numbers["test_loss"] == pytest.approx(expected, rel=1e-5)
    assert all(torch.equal(before[name], value) for name, value in copied(built.network).items())


@pytest.mark.parametrize("build", [lambda: nn.LSTM(3, 3), lambda: nn.Linear(3, 3)], ids=["lstm", "linear"])
def test_lent_weights_are_used_and_returned_even_after_an_error(build):
    torch.manual_seed(0)
    network, other = build(), build()
    parameters = dict(network.named_parameters())
    own, x = copied(network), torch.randn(2, 1, 3)
    with pytest.raises(KeyError), torch.inference_mode(), swapped(parameters, copied(other)):
        torch.testing.assert_close(network(x), other(x))
        raise KeyError
    assert all(torch.equal(own[name], parameter) for name, parameter in parameters.items())
    with swapped(parameters, None):
        torch.testing.assert_close(copied(network), own)
    # Still to be trained after that.
    torch.nn.utils.parameters_to_vector(network.parameters()).sum().backward()
    torch.optim.SGD(network.parameters(), lr=1.0).step()


# --- the way back -------------------------------------------------------------------------------------


def test_spoilt_weights_go_back_to_the_best_ones(whole, tmp_path, caplog):
    _, built, _, follow = whole
    assert built.rollbacks == 2
    assert all(torch.isfinite(torch.tensor(follow.valid)))
    for epoch, step in SPOIL:
        best = min(range(epoch), key=follow.valid.__getitem__)
        weights = load(whole[0] / f"epoch={best + 1:04d}.ckpt")["language_evaluation"]["best"]["weights"]
        after = follow.before[epoch, step + 1]
        assert all(torch.equal(after[name], weights[name]) for name in weights)
    trained(tmp_path, 3, Follow([(2, 3)]))
    assert "training loss became nan or infinite, or exploded, in step 4 of epoch 2" in caplog.text
    assert "back to the weights of epoch" in caplog.text


def test_every_way_back_leads_to_the_same_weights(tmp_path):
    """An optimiser works on in the tensors that it is given; the kept ones must not be those."""
    spoil = [(epoch, 2) for epoch in (10, 11)] + [(11, 4)]
    built, _, follow = trained(tmp_path, 12, Follow(spoil), max_rollbacks=3)
    assert built.rollbacks == 3
    assert follow.averaging[-1] == 1
    found = [follow.before[epoch, step + 1] for epoch, step in spoil]
    kept = {
        epoch: load(tmp_path / f"epoch={epoch:04d}.ckpt")["language_evaluation"]["best"] for epoch in (10, 11)
    }
    for weights, (epoch, _) in zip(found, spoil, strict=True):
        assert all(torch.equal(weights[name], value) for name, value in kept[epoch]["weights"].items())
    assert kept[10]["averaging"]


def test_weights_that_the_last_step_of_an_epoch_spoils_go_back_too(tmp_path):
    class Last(Follow):
        def on_validation_start(self, trainer, pl_module):
            if trainer.current_epoch == 2:
                pl_module.network.bias.data[0] = torch.nan

    built, _, follow = trained(tmp_path, 4, Last())
    assert built.rollbacks == 1
    assert torch.isfinite(built.network.bias).all()
    assert torch.isnan(torch.tensor(follow.valid[2])) and follow.valid[3] < 3


def test_a_run_that_cannot_go_back_has_diverged(tmp_path):
    with pytest.raises(Diverged, match=r"nan or infinite.* step 2 of epoch 0, before a first validation"):
        trained(tmp_path / "first", 2, Follow([(0, 1)]))
    with pytest.raises(Diverged, match=r"step 3 of epoch 2, after going back .* 2 times .*max_rollbacks=2"):
        trained(tmp_path / "often", 4, Follow([(1, 0), (2, 0), (2, 2), (3, 0)]), max_rollbacks=2)


def test_numbers_out_of_range_are_refused():
    for key, value in (("nonmono", 0), ("nonmono", 2.5), ("max_rollbacks", -1)):
        with pytest.raises(ConfigError, match=f"recipe.{key}={value}"):
            module(**{key: value})


# --- resuming -----------------------------------------------------------------------------------------


def assert_same(left, right):
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right)
    elif isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_same(left[key], right[key])
    elif isinstance(left, list | tuple):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_same(one, other)
    else:
        assert left == right


@pytest.mark.parametrize("moment", ["before averaging", "where it begins", "in it", "after a way back"])
def test_a_resumed_run_ends_as_one_that_never_stopped(whole, tmp_path, moment):
    folder, built, _, follow = whole
    switch = follow.averaging.index(1)
    done = {"before averaging": 2, "where it begins": switch, "in it": switch + 2, "after a way back": 13}[
        moment
    ]
    resumed, _, again = trained(tmp_path, EPOCHS, Follow(SPOIL), folder / f"epoch={done:04d}.ckpt")
    assert again.valid == follow.valid[done:]
    assert again.averaging == follow.averaging[done:]
    ours, theirs = load(list_checkpoints(tmp_path)[0]), load(list_checkpoints(folder)[0])
    for key in (
        "state_dict",
        "optimizer_states",
        "lr_schedulers",
        "language_evaluation",
        "epoch",
        "global_step",
    ):
        assert_same(ours[key], theirs[key])
    trainer = pl.Trainer(logger=False, enable_progress_bar=False)
    trainer.test(resumed, data(), verbose=False)
    assert float(trainer.callback_metrics["test_loss"]) == pytest.approx(
        measured(built.network, built.best["weights"], tokens(61, 2), 1), rel=1e-5
    )
