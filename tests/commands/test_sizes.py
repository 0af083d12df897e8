"""Sizes of a recipe that belongs to another space: refused where they were asked for, else said."""

import json
import shlex

import pytest
from PIL import Image

CELL = "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        # 20 cells of 36 channels were priced here, as if nothing had been said.
        ("cost", "genotype=DARTS_V2 recipe=nasbench201", "recipe=nasbench201: sizes networks of another"),
        ("cost", "genotype=DARTS_V2 recipe=dso_cifar10", "with the keys num_cells, init_channels, stem"),
        ("evaluate", "genotype=DARTS_V2 recipe=nasbench201", "or without recipe= by space.num_cells"),
        ("search", "space=nasbench201 recipe=cifar10", "recipe=cifar10: sizes networks of another"),
        ("search", "space=dso_small method=dsonas_random recipe=nasbench201", "space.blocks_per_stage"),
        ("latency", "space=nasbench201 dataset=digits recipe=cifar10", "recipe=cifar10: sizes networks"),
        ("export", "genotype=DARTS_V2 untrained=true recipe=nasbench201", "recipe=nasbench201: sizes"),
        ("bench", "bench.evaluation=true bench.steps=[] recipe=nasbench201", "recipe=nasbench201: sizes"),
        # The recipe is the data set's own, but its sizes were typed.
        ("search", "space=nasbench201 recipe.num_cells=3", "recipe.num_cells=3: networks of space=nas"),
        (
            "search",
            "space=nasbench201 recipe.init_channels=4",
            "by space.cells_per_stage, space.init_channels, since recipe=digits is another space's",
        ),
        (
            "search",
            "debug=fast traceback=false space=nasbench201 recipe=nasbench201 recipe.num_cells=3",
            "recipe.num_cells=3: networks of space=nasbench201 are sized by recipe.cells_per_stage",
        ),
    ],
)
def test_sizes_of_another_space_that_were_typed_are_refused(run, tmp_path, command, words, message):
    place = () if command == "cost" else (f"hydra.run.dir={tmp_path}",)
    dataset = () if "dataset" in words or command in ("cost", "export", "bench") else ("dataset=digits",)
    done = run(command, *words.split(), *dataset, *place)
    assert done.status == 2 and message in done.err and "Traceback" not in done.err
    assert not list(tmp_path.glob("*.json"))


def test_a_data_sets_own_recipe_leaves_the_sizes_to_the_space_and_says_so(run, caplog):
    priced, told = [], []
    for more in (("space.cells_per_stage=2",), ("recipe=nasbench201", "recipe.cells_per_stage=2")):
        caplog.clear()
        done = run("cost", f"genotype='{CELL}'", "space=nasbench201", "dataset=digits", "format=json", *more)
        assert done.status == 0, done.err
        said = "recipe digits sizes networks of another space: the sizes of space nasbench201 hold"
        told.append(done.err + caplog.text)
        assert (said in told[-1]) == (len(more) == 1)
        priced.append(json.loads(done.out))
    assert priced[0] == priced[1]
    assert "(space.cells_per_stage=2, space.init_channels=16)" in told[0]


def test_a_recipe_of_data_of_ones_own_suits_every_space(run, caplog, tmp_path):
    for number in range(10):
        place = tmp_path / "ab"[number % 2] / f"{number}.png"
        place.parent.mkdir(exist_ok=True)
        Image.new("L", (8, 8), number).save(place)
    words = (f"genotype='{CELL}'", "space=nasbench201", "dataset=folder", f"dataset.root={tmp_path}")
    done = run("cost", *words)
    assert done.status == 0, done.err
    said = done.out + done.err + caplog.text
    assert "another space" not in said
    assert "space.cells_per_stage=5, space.init_channels=16" in done.out


def test_the_sizes_that_are_named_are_those_that_are_priced(run):
    """A cell of the DARTS space on a data set whose recipe is NAS-Bench-201's: 8 cells of 16 channels."""
    given = ("genotype=DARTS_V2", "format=json")
    own = run("cost", *given, "dataset=imagenet16_120")
    wide = run("cost", *given, "dataset=imagenet16_120", "space.num_cells=20", "space.init_channels=36")
    recipe = run("cost", *given, "dataset=cifar100", "recipe.num_cells=20", "recipe.init_channels=36")
    assert own.status == wide.status == recipe.status == 0
    own, wide, recipe = (json.loads(done.out) for done in (own, wide, recipe))
    assert own["params"] < wide["params"] / 5
    # 120 classes against 100, of a last layer of 576 channels.
    assert wide["params"] - recipe["params"] == 20 * (576 + 1)


def test_what_is_printed_can_be_typed_where_the_recipe_is_another_spaces(run, tmp_path):
    """`debug=fast` sets sizes of the recipe that a space of blocks does not take."""
    given = ("debug=fast", "space=dso_small", "method=dsonas_random", "dataset=digits")
    done = run("search", *given, f"hydra.run.dir={tmp_path}")
    assert done.status == 0, done.err
    line = next(line for line in done.out.splitlines() if line.startswith("evaluate:"))
    words = shlex.split(line.partition("nas.evaluate")[2])
    limits = ("trainer.limit_train_batches=1", "trainer.max_epochs=1", "trainer.limit_test_batches=1")
    done = run("evaluate", *words, *limits, f"hydra.run.dir={tmp_path / 'evaluated'}")
    assert done.status == 0, done.err
    searched, evaluated = (
        json.loads((folder / "summary.json").read_text()) for folder in (tmp_path, tmp_path / "evaluated")
    )
    assert (searched["params"], searched["macs"]) == (evaluated["params"], evaluated["macs"])
