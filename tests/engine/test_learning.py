"""A search that cannot learn an architecture is refused, and one that has not says so."""

import json

import pytest
import torch

from nas.engine.learning import StartValues, check_epochs, check_steps
from nas.errors import ConfigError
from nas.methods.proximal import AcceleratedProximalGradient
from tests.methods.flat import flat_method, flat_sparse

SHAPES = {"normal": (2, 3), "reduce": (2, 3)}


def sgd(lr):
    return lambda parameters: torch.optim.SGD(parameters, lr=lr)


def proximal(parameters):
    return AcceleratedProximalGradient(parameters, lr=0.1)


def method_of(**settings):
    given = {"weight_optimizer": sgd(0.1), "architecture_optimizer": sgd(0.1)} | settings
    return flat_method("drnas", SHAPES, relaxation="dirichlet", **given)


def sparse_of(**settings):
    given = {"weight_optimizer": sgd(0.1), "architecture_optimizer": proximal} | settings
    return flat_sparse("dsonas", {"block": (4, 1)}, **given)


def config(epochs=3, limit=1.0, resume=None):
    return {"trainer": {"max_epochs": epochs, "limit_train_batches": limit}, "resume": resume}


def stages(*pairs):
    return [{"epochs": epochs, "freeze": freeze} for epochs, freeze in pairs]


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (method_of(warmup_epochs=3), "method.warmup_epochs=3: .*trainer.max_epochs=3; set it to at most 2"),
        (sparse_of(warmup_epochs=120), "method.warmup_epochs=120: .*trainer.max_epochs to at least 121"),
        (method_of(stages=stages((1, 1), (2, 2))), r"method.stages: .*1 of 1, 2 of 2"),
        (method_of(stages=stages((2, 0), (1, 1)), warmup_epochs=2), r"warmup_epochs=2: .*0 of 2, 1 of 1"),
        (method_of(architecture_optimizer=sgd(0.0)), "method.architecture_optimizer.lr=0: "),
        (sparse_of(weight_optimizer=sgd(0.0)), r"method.weight_optimizer.lr \(method.tied_rate=true\)=0: "),
    ],
)
def test_a_search_without_an_epoch_for_the_architecture_is_refused(method, words):
    with pytest.raises(ConfigError, match=words):
        check_epochs(config(), method)
    # What an earlier version started goes on, and says at its end what came of it.
    check_epochs(config(resume="folder"), method)


@pytest.mark.parametrize(
    "method",
    [
        method_of(warmup_epochs=2),
        sparse_of(warmup_epochs=2),
        method_of(stages=stages((1, 1), (2, 1))),
        flat_method("random", SHAPES, update="none", warmup_epochs=9),
    ],
)
def test_one_epoch_is_enough_and_a_draw_needs_none(method):
    check_epochs(config(), method)


@pytest.mark.parametrize(
    ("settings", "steps", "words"),
    [
        ({"weight_steps": 7}, [2, 2, 2], "method.weight_steps=7: .*which has 6"),
        ({"weight_steps": 4, "warmup_epochs": 2}, [2, 2, 1], "method.weight_steps=4: .*warmup_epochs=2"),
        ({}, [0, 0, 0], "trainer.limit_train_batches=1.0: leaves no batch"),
        ({"weight_steps": 6}, [2, 2, 2], None),
        ({"weight_steps": 4, "warmup_epochs": 2}, [2, 1, 1], None),
    ],
)
def test_too_few_steps_for_one_of_the_architecture_are_refused(settings, steps, words):
    method = sparse_of(**settings)
    if words is None:
        check_steps(config(), method, steps)
        return
    with pytest.raises(ConfigError, match=words):
        check_steps(config(), method, steps)


def test_candidates_dropped_before_they_are_learnt_are_named(caplog):
    first, second = stages((1, 1), (2, 0))
    check_epochs(config(), method_of(stages=[first, second | {"keep": 2}]))
    assert "method.stages[1].keep=2: drops candidates by their start values" in caplog.text


def moved(method, group, amount=0.5):
    with torch.no_grad():
        method.alpha[group][0, 0] += amount


def test_what_has_not_moved_is_unchanged():
    method = method_of()
    start = StartValues(method)
    assert start.verdict(method) == "unchanged"
    moved(method, "normal")
    assert start.verdict(method) == "unchanged: reduce"
    moved(method, "reduce")
    assert start.verdict(method) == "learnt"


def test_a_step_too_small_for_the_op_weights_is_no_change():
    method = flat_method("darts1", SHAPES, architecture_optimizer=sgd(0.1))
    start = StartValues(method)
    for group in SHAPES:
        with torch.no_grad():
            # As far as softmax goes nothing: exponentials of numbers this small are all 1.
            method.alpha[group].zero_()
    before = StartValues(method)
    for group in SHAPES:
        moved(method, group, 1e-30)
    assert before.verdict(method) == "unchanged" and start.verdict(method) == "learnt"


def test_dropping_candidates_is_not_learning_them():
    method = method_of()
    start = StartValues(method)
    method.prune(2)
    assert start.verdict(method) == "unchanged"
    moved(method, "normal")
    with torch.no_grad():
        method.alpha["normal"][:] += method.kept()["normal"] * 0.1
    assert start.verdict(method) == "unchanged: reduce"


def test_factors_are_learnt_once_one_of_them_is_zero():
    method = sparse_of()
    start = StartValues(method)
    assert start.verdict(method) == "unchanged"
    method.drop({"block": torch.tensor([[True], [True], [True], [False]])})
    assert start.verdict(method) == "learnt"


def test_a_draw_is_a_draw():
    method = flat_method("random", SHAPES, update="none")
    assert StartValues(method).verdict(method) == "drawn, not learnt"


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("method=drnas", "method.warmup_epochs=10: the architecture would never move"),
        ("method=dsonas space=dso_small", "method.warmup_epochs=120: the architecture would never move"),
        (
            "method=dsonas space=dso_small method.warmup_epochs=0 method.weight_steps=3",
            "method.weight_steps=3: the architecture would never move",
        ),
        ("method.architecture_optimizer.lr=0", "method.architecture_optimizer.lr=0: the architecture"),
        ("method=drnas plan=true", "method.warmup_epochs=10: the architecture would never move"),
        ("debug=fast method=drnas method.warmup_epochs=1", "method.warmup_epochs=1: the architecture"),
        (
            "space=darts_rnn dataset=wikitext_mini method=drnas_rnn method.warmup_epochs=1",
            "method.warmup_epochs=1: the architecture would never move",
        ),
    ],
)
def test_as_typed_it_is_one_message_and_nothing_is_written(run, tmp_path, words, message):
    limits = ("trainer.max_epochs=1", "trainer.limit_train_batches=2", "traceback=false")
    done = run("search", *words.split(), *limits, f"hydra.run.dir={tmp_path / 'a'}")
    assert done.status == 2 and message in done.err
    assert "Traceback" not in done.err and not list((tmp_path / "a").glob("*.json"))


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        ("method=drnas", "learnt"),
        ("method=dsonas space=dso_small method.weight_steps=4", "learnt"),
        ("method.architecture_optimizer.lr=1e-30", "unchanged"),
        ("method=random", "drawn, not learnt"),
    ],
)
def test_the_summary_says_whether_the_architecture_was_learnt(run, tmp_path, words, verdict):
    done = run("search", "debug=fast", *words.split(), f"hydra.run.dir={tmp_path}")
    assert done.status == 0, done.err
    assert summary(tmp_path)["architecture"] == verdict
    assert ("not learnt: all op weights" in done.out) == (verdict == "unchanged")


def test_a_resumed_search_knows_its_start(run, tiny, tmp_path):
    """The architecture moves in the first stage alone, and the run is killed between the two."""
    given = (
        "method=drnas_progressive",
        "method.stages=[{epochs:1,partial:2},{epochs:1,partial:1,freeze:1}]",
        "trainer.max_epochs=2",
    )
    given = (*(word for word in tiny if "max_epochs" not in word and "init" not in word), *given)
    done = run("search", *given, "space.init_channels=4", f"hydra.run.dir={tmp_path}")
    assert done.status == 0, done.err
    assert summary(tmp_path)["architecture"] == "learnt"
    (tmp_path / "checkpoints/epoch=0002.ckpt").unlink()
    (tmp_path / "summary.json").write_text(json.dumps(summary(tmp_path) | {"status": "running"}))
    done = run("search", f"resume={tmp_path}")
    assert done.status == 0, done.err
    assert summary(tmp_path)["architecture"] == "learnt" and "not learnt" not in done.out
