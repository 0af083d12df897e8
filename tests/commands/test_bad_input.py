"""What a user can get wrong: one message that says what, the right status, no traceback, nothing lost."""

import json

import pytest
import torch

MISSING_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
BAD_SEARCH = [
    ("metod=darts1", "did you mean 'method'?"),
    ("space.num_cels=3", "did you mean 'space.num_cells'?"),
    (
        "dataset.source={_target_:nas.data.digits.Digits,tag:a}",
        "'dataset.source.tag': dataset.source has none of that name; add it as +dataset.source.tag=",
    ),
    ("method=dartz", "darts2"),
    ("experiment=darts/nope", "experiment/darts/nope"),
    ("dataset.batch_size=100000", "from 1 to 718"),
    ("dataset.batch_size=0", "dataset.batch_size"),
    ("dataset.batch_size=-4", "dataset.batch_size"),
    ("dataset.fraction=0", "dataset.fraction"),
    ("space.num_cells=0", "space.num_cells=0"),
    ("space.init_channels=-2", "space.init_channels=-2"),
    ("space.init_channels=5", "even"),
    ("space.stem=imagenet", "too small"),
    ("recipe.num_cells=0", "recipe.num_cells=0"),
    ("recipe.stem=imagenet", "too small"),
    ("trainer.max_epochs=0", "trainer.max_epochs=0"),
    ("trainer.limit_train_batches=0", "trainer.limit_train_batches=0"),
    pytest.param("hardware=gpu", "choose hardware=cpu", marks=MISSING_GPU),
    ("hardware.precision=16-mixed", "bf16-mixed"),
    ("hardware.devices=0", "devices=0"),
    ("seed=-1", "seed=-1"),
    ("seed=abc", "seed=abc"),
    ("split_seed=-1", "split_seed"),
    ("method.relaxation=foo", "softmax"),
    ("method.weight_optimizer.lr=-1", "method: Invalid learning rate"),
    ("method.clip=-1", "method.clip=-1"),
    ("checkpoint.every=0", "checkpoint.every=0"),
    ("checkpoint.keep=0", "checkpoint.keep=0"),
    ("analysis.hessian.mode=foo", "without effect where analysis.hessian.every=0"),
    ("analysis.hessian.every=-1", "analysis.hessian.every=-1"),
    ("analysis.implicit.every=-1", "analysis.implicit.every=-1"),
    ("logger=foo", "tensorboard"),
    ("traceback=inf", "traceback=inf: must be true or false"),
    ("method.architecture_optimizer.lr={a:1}", "method.architecture_optimizer.lr={"),
]
BAD_EVALUATE = [
    ("genotype=null", "genotype=null"),
    ("genotype=DARTS_V9", "DARTS_V2"),
    ("recipe.stem=imagenet", "too small"),
    ("recipe.auxiliary_weight=0.4", "recipe.auxiliary_weight"),
    ("recipe.drop_path=2", "recipe.drop_path=2"),
    ("recipe.label_smoothing=3", "recipe.label_smoothing=3"),
    ("recipe.clip=-1", "recipe.clip=-1"),
    ("recipe.optimizer.lr=-1", "recipe: Invalid learning rate"),
    ("dataset.valid=2", "dataset.valid"),
    ("metrics=[f1,f2]", "metrics=f2: unknown; known are accuracy, balanced_accuracy"),
    ("metrics=[top10]", "metrics=top10: needs 11 classes or more, and the data set has 10"),
]


def assert_refused(done, *words):
    assert done.status == 2, done
    assert "Traceback" not in done.err
    assert done.err.count("error: ") == 1
    for word in words:
        assert word in done.err


@pytest.mark.parametrize(("override", "words"), BAD_SEARCH)
def test_search_refuses(run, tiny, tmp_path, override, words):
    done = run("search", *tiny, override, f"hydra.run.dir={tmp_path / 'a'}")
    assert_refused(done, words)
    assert not (tmp_path / "a").exists()


def test_a_search_that_trains_nothing_refuses_what_its_evaluation_would(run, tiny, tmp_path):
    words = ("method=random", "dataset.sampling=even", f"hydra.run.dir={tmp_path / 'a'}")
    assert_refused(run("search", *tiny, *words), "dataset.sampling=even: unknown")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(("override", "words"), BAD_EVALUATE)
def test_evaluate_refuses(run, tiny, tmp_path, override, words):
    sizes = [o for o in tiny if not o.startswith("space.")]
    done = run("evaluate", *sizes, "genotype=DARTS_V2", override, f"hydra.run.dir={tmp_path / 'a'}")
    assert_refused(done, words)
    assert not (tmp_path / "a").exists()


def test_genotypes_that_are_none(run, tmp_path):
    text, other, binary = tmp_path / "a.txt", tmp_path / "b.txt", tmp_path / "c.json"
    text.write_text("no genotype")
    other.write_text("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|none~2|")
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (text, other, binary, tmp_path / "missing"):
        for name in ("cost", "evaluate"):
            assert_refused(run(name, f"genotype={path}"), "genotype")


def test_folders_that_cannot_be(run, tiny, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    for folder in (file, file / "below"):
        assert_refused(run("search", *tiny, f"hydra.run.dir={folder}"), str(folder))
    assert file.read_text() == "mine"


def test_missing_images(run, tiny, tmp_path):
    done = run(
        "search", *tiny, "dataset=cifar10", "dataset.download=false", f"dataset.root={tmp_path / 'nope'}"
    )
    assert_refused(done, "dataset.root", "dataset.download")


def test_images_too_small_for_the_reductions(run, tiny, tmp_path):
    source = "dataset.source._target_=tests.commands.small_source.SmallImages"
    done = run("search", *tiny, source, "~dataset.source.test_seed", f"hydra.run.dir={tmp_path / 'a'}")
    assert_refused(done, "6x6", "too small")


def test_cost_refuses(run):
    assert_refused(run("cost"), "genotype=null")
    assert_refused(run("cost", "genotype=DARTS_V2", "format=xml"), "table, json")


def test_several_processes_in_a_multirun(run, tiny, tmp_path):
    done = run("search", *tiny, "hardware.devices=2", "seed=0,1", f"hydra.sweep.dir={tmp_path}", "-m")
    assert done.status == 2
    assert "one by one" in done.err


def test_a_loss_that_is_no_number_stops_the_run(run, tiny, tmp_path, monkeypatch):
    from nas.engine.tasks import Classification

    calls = []
    sound = Classification.loss

    def loss(self, logits, labels, train=True):
        calls.append(train)
        # Two losses per step, after one of the check of shapes: the weight loss of the first step of epoch 1.
        return sound(self, logits, labels, train) * (float("nan") if sum(calls) == 7 else 1)

    monkeypatch.setattr(Classification, "loss", loss)
    folder = tmp_path / "a"
    done = run("search", *tiny, "trainer.max_epochs=3", f"hydra.run.dir={folder}")
    assert done.status == 1
    assert "weight loss became nan or infinite in epoch 1, step 2" in done.err
    assert "Traceback" not in done.err
    assert "Diverged" in (folder / "error.txt").read_text()
    assert json.loads((folder / "summary.json").read_text())["status"] == "failed"
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["epoch=0001.ckpt"]
    monkeypatch.undo()


def test_weights_that_are_no_numbers_are_not_kept(run, tiny, tmp_path, monkeypatch):
    from nas.engine.search_module import SearchModule

    end = SearchModule.on_train_epoch_end

    def spoil(self):
        if self.current_epoch == 1:
            self.weights[0].data.fill_(float("nan"))
        end(self)

    monkeypatch.setattr(SearchModule, "on_train_epoch_end", spoil)
    done = run("search", *tiny, "trainer.max_epochs=3", f"hydra.run.dir={tmp_path / 'a'}")
    assert done.status == 1
    assert "end of epoch 1" in done.err
    assert [path.name for path in (tmp_path / "a/checkpoints").iterdir()] == ["epoch=0001.ckpt"]


def test_a_broken_run_says_so_and_debug_shows_where(run, tiny, tmp_path):
    lr = "method.weight_optimizer.lr=1e30"
    done = run("search", *tiny, lr, "traceback=true", f"hydra.run.dir={tmp_path / 'a'}")
    assert done.status == 1
    assert "Traceback" in done.err
