"""Searches that a monitor ends, sends back or holds in part, and what a resumed one makes of that."""

import json
import shlex
import shutil

import pytest
import torch

from nas.engine import checkpoints
from nas.engine.genotype_log import genotype_of_epoch
from nas.engine.recording import SearchRecorder
from nas.engine.watching import Back, go_back, of_result
from nas.errors import ConfigError
from nas.genotype import load
from tests.commands.test_resume import assert_equal
from tests.conftest import ROOT
from tests.test_contributing import blocks

SIZES = (
    "space=nasbench201", "space.cells_per_stage=1", "space.init_channels=2", "dataset.batch_size=16",
    "trainer.limit_train_batches=2", "trainer.limit_val_batches=1", "trainer.max_epochs=5",
)  # fmt: skip
RULE = (
    "method.update=first_order", "method.monitors.eigenvalue.every=1",
    "method.monitors.eigenvalue.window=1", "method.monitors.eigenvalue.back=2",
    "method.monitors.eigenvalue.start=0",
)  # fmt: skip
# With these numbers the search acts after epoch 3, on epoch 1.
SERIES = (1.0, 1.0, 1.0, 2.0, 1.0)


@pytest.fixture
def eigenvalues(monkeypatch):
    """`eigenvalues()`: measured by epoch as `SERIES` has them; calls `at(number)` before each measurement."""

    def measure(at=lambda number: None):
        calls = []

        def measured(recorder, module):
            calls.append(module.current_epoch)
            at(len(calls))
            return {"hessian_eigenvalue": SERIES[module.current_epoch]}

        monkeypatch.setattr(SearchRecorder, "_eigenvalues", measured)
        return calls

    return measure


def summary_of(folder):
    return json.loads((folder / "summary.json").read_text())


def checkpoint_of(folder, epochs):
    return torch.load(folder / f"checkpoints/epoch={epochs:04d}.ckpt", weights_only=True)


def column_of(folder, name):
    header, *rows = ((folder / "metrics.csv").read_text()).splitlines()
    return [row.split(",")[header.split(",").index(name)] for row in rows]


def leave_killed(folder, copy):
    """What a kill leaves just now."""
    shutil.copytree(folder, copy)
    for path in copy.rglob(".*"):
        path.unlink()


def assert_same(left, right):
    """Tables, genotypes, the checkpoint of the result and the summary."""
    for file in ("genotype.json", "genotypes.jsonl", "architecture.csv", "metrics.csv"):
        assert (left / file).read_bytes() == (right / file).read_bytes(), file
    (a, n), (b, m) = of_result(left), of_result(right)
    assert n == m
    ours, theirs = (torch.load(one, weights_only=True) for one in (a, b))
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "monitors"):
        assert_equal(ours[key], theirs[key])
    assert ours.get("frozen") == theirs.get("frozen")
    ours, theirs = ({k: v for k, v in summary_of(one).items() if k != "seconds"} for one in (left, right))
    assert ours == theirs


def test_a_search_that_the_eigenvalue_ends_has_the_cell_of_the_earlier_epoch(run, tmp_path, eigenvalues):
    """Until then it is DARTS bit by bit; killed before it was summed up it does not go on."""
    eigenvalues()
    folder, plain, killed = tmp_path / "whole", tmp_path / "plain", tmp_path / "killed"
    few = ("checkpoint.keep=1", "checkpoint.every=5")
    done = run("search", "method=darts_es", *SIZES, *RULE, *few, f"hydra.run.dir={folder}")
    assert done.status == 0, done.err
    assert "the search ends after epoch 3" in done.out and "result:     of epoch 1" in done.out
    found = summary_of(folder)
    assert (found["status"], found["epochs"], found["planned_epochs"]) == ("finished", 4, 5)
    assert found["result_epoch"] == 1
    assert found["ended_by"] == "method.monitors.eigenvalue: eigenvalue 2, 2 times that of epoch 1"
    assert found["genotype"] == str(genotype_of_epoch(folder, 1)) == str(load(str(folder / "genotype.json")))
    losses = column_of(folder, "architecture_loss")
    assert len(losses) == 4 and float(losses[1]) == found["architecture_loss"]
    path, epochs = of_result(folder)
    assert (path.name, epochs) == ("epoch=0002.ckpt", 2)
    kept = sorted(one.name for one in path.parent.iterdir())
    assert kept == [f"epoch=000{number}.ckpt" for number in (2, 3, 4)]

    assert run("search", "method=darts1", *SIZES, "checkpoint.keep=9", f"hydra.run.dir={plain}").status == 0
    ours, theirs = ((one / "architecture.csv").read_text() for one in (folder, plain))
    assert theirs.startswith(ours)
    for key in ("state_dict", "optimizer_states"):
        assert_equal(checkpoint_of(folder, 4)[key], checkpoint_of(plain, 4)[key])
    assert "monitors" not in checkpoint_of(plain, 4)

    more = run("search", f"resume={folder}", "trainer.max_epochs=8", "resume_schedule=restart")
    assert more.status == 2 and "ended after 4 epochs by method.monitors.eigenvalue" in more.err, more.err
    leave_killed(folder, killed)
    for file in ("genotype.json", "summary.json"):
        (killed / file).unlink()
    assert run("search", f"resume={killed}").status == 0
    assert_same(folder, killed)


def test_nothing_is_judged_before_alpha_has_moved(run, tmp_path, eigenvalues):
    # The eigenvalue grows in epoch 3, in a warm-up of four: what it would go back to has learnt nothing.
    eigenvalues()
    words = ("method=darts_es", *SIZES, *RULE, "method.warmup_epochs=4")
    assert run("search", *words, f"hydra.run.dir={tmp_path / 'run'}").status == 0
    assert (summary_of(tmp_path / "run")["epochs"], "ended_by" in summary_of(tmp_path / "run")) == (5, False)
    best = "+method.monitors.best={_target_: nas.methods.monitors.BestEpoch}"
    words = ("method=darts1", *SIZES, best, "method.warmup_epochs=4")
    assert run("search", *words, f"hydra.run.dir={tmp_path / 'best'}").status == 0
    assert summary_of(tmp_path / "best")["result_epoch"] == 4


def test_a_search_goes_back_with_more_weight_decay_and_resumes_there(run, tmp_path, eigenvalues, monkeypatch):
    """To the very state of that epoch, once: then the weight decay is at its maximum."""
    folder, killed, states = tmp_path / "whole", tmp_path / "killed", []

    def watched(checkpoints, back):
        before = checkpoint_of(folder, 2)
        go_back(checkpoints, back)
        states.append((before, checkpoint_of(folder, 2)))
        assert not (checkpoints / "epoch=0003.ckpt").exists()

    monkeypatch.setattr("nas.commands.search_training.go_back", watched)
    calls = eigenvalues(lambda number: leave_killed(folder, killed) if number == 6 else None)
    words = ("method=darts_ada", *SIZES, *RULE, "method.monitors.eigenvalue.maximum=0.003")
    done = run("search", *words, "checkpoint.keep=1", f"hydra.run.dir={folder}")
    assert done.status == 0, done.err
    assert calls == [0, 1, 2, 3, 2, 3, 4]
    ((before, after),) = states
    (group,), (was,) = (one["optimizer_states"][0]["param_groups"] for one in (after, before))
    assert (group.pop("weight_decay"), was.pop("weight_decay")) == pytest.approx((3e-3, 3e-4))
    (record,) = after["monitors"]["went_back"]
    after["monitors"]["went_back"] = []
    assert_equal(before, after)
    found = summary_of(folder)
    assert (found["status"], found["epochs"], "result_epoch" in found) == ("finished", 5, False)
    assert found["went_back"] == [record]
    assert record == {"monitor": "eigenvalue", "at": 3, "to": 1, "weight_decay": pytest.approx(3e-3)}
    assert column_of(folder, "epoch") == ["0", "1", "2", "3", "4"]
    end = checkpoint_of(folder, 5)
    assert end["optimizer_states"][0]["param_groups"][0]["weight_decay"] == pytest.approx(3e-3)
    assert end["lr_schedulers"][0]["last_epoch"] == 5

    eigenvalues()
    assert run("search", f"resume={killed}").status == 0
    assert_same(folder, killed)


def test_a_monitor_of_ones_own_as_the_document_writes_it(run, tmp_path, monkeypatch):
    """No progress for 0 epochs is the first one's; a random draw has nothing to watch."""
    text = (ROOT / "docs/monitors.md").read_text(encoding="utf-8")
    (code,) = blocks(text, "python")
    (tmp_path / "plateau.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    *_, words = (shlex.split(line) for block in blocks(text, "sh") for line in block.splitlines())
    typed = words[3].replace("patience: 3", "patience: 0")
    done = run("search", *SIZES, typed, f"hydra.run.dir={tmp_path / 'run'}")
    assert done.status == 0, done.err
    assert summary_of(tmp_path / "run")["ended_by"] == "method.monitors.stop: no progress in 0 epochs"
    random = run("search", "method=random", typed.replace("+", "++"), f"hydra.run.dir={tmp_path / 'random'}")
    assert random.status == 2 and "method.monitors.stop: method random trains nothing" in random.err


def test_weights_rest_across_a_resume_and_the_best_epoch_is_the_result(run, tmp_path, monkeypatch):
    """Killed where some candidates rest and a window of three steps is not over."""
    folder, killed = tmp_path / "whole", tmp_path / "killed"
    original = SearchRecorder.row

    def row(recorder, trainer, module):
        if module.current_epoch == 2 and not killed.exists():
            leave_killed(folder, killed)
        return original(recorder, trainer, module)

    monkeypatch.setattr(SearchRecorder, "row", row)
    words = ("method.monitors.agreement.threshold=0.5", "method.monitors.agreement.steps=3")
    best = "+method.monitors.best={_target_: nas.methods.monitors.BestEpoch}"
    done = run("search", "method=oles", *SIZES, *words, best, f"hydra.run.dir={folder}")
    assert done.status == 0, done.err
    found = summary_of(folder)
    scores = [float(text) for text in column_of(folder, "architecture_accuracy")]
    epoch = scores.index(max(scores))
    assert found["result_epoch"] == epoch and found["genotype"] == str(genotype_of_epoch(folder, epoch))
    assert found["epochs"] == 5 and found["architecture_accuracy"] == scores[epoch]
    assert found["frozen"] == int(column_of(folder, "frozen")[epoch])

    half = checkpoint_of(killed, 2)
    assert half["frozen"] and half["monitors"]["states"]["agreement"]["done"] == 1
    assert run("search", f"resume={killed}").status == 0
    assert_same(folder, killed)
    assert_equal(checkpoint_of(folder, 5), checkpoint_of(killed, 5))


@pytest.mark.parametrize(
    "damage",
    [
        lambda found: found.pop("monitors"),
        lambda found: found["monitors"].update(went_back=3),
        lambda found: found["monitors"].update(went_back=["x"]),
        lambda found: found.update(optimizer_states=[]),
        lambda found: found["optimizer_states"][0].update(param_groups=[{"weight_decay": "much"}]),
    ],
)
def test_a_record_that_was_damaged_meanwhile_is_one_message(tmp_path, damage):
    found = {"state_dict": {}, "monitors": {"went_back": []}}
    found |= {"epoch": 1, "global_step": 4, "lr_schedulers": [], "loops": {}}
    found["optimizer_states"] = [{"param_groups": [{"weight_decay": 0.1}]}]
    damage(found)
    path = checkpoints.path_of(tmp_path, 2)
    checkpoints.save(found, path)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"epoch=0002.ckpt: what it holds of .* cannot go back to epoch 1"):
        go_back(tmp_path, Back(1, {"weight_decay": 2.5}, {}))
    assert path.read_bytes() == before


def test_nothing_is_deleted_where_there_is_nothing_to_go_back_to(tmp_path):
    checkpoints.save(
        {"state_dict": {}, "monitors": {"went_back": []}, "epoch": 1}, tmp_path / "epoch=0002.ckpt"
    )
    (tmp_path / "epoch=0003.ckpt").touch()
    with pytest.raises(ConfigError, match=r"epoch=0002.ckpt: damaged \(it lacks .*loops"):
        go_back(tmp_path, Back(1, {"weight_decay": 2.5}, {}))
    assert (tmp_path / "epoch=0003.ckpt").exists()
