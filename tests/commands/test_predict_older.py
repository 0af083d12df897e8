"""`nas.predict` of a folder that does not describe its network, whose data have moved; other labels."""

import shlex

import numpy as np
from omegaconf import OmegaConf
from PIL import Image

SIZES = ("recipe.num_cells=3", "recipe.init_channels=2", "dataset.batch_size=4", "trainer.max_epochs=1")


def test_the_way_out_that_an_older_folder_names_leads_to_a_prediction(run, tmp_path):
    random, data = np.random.default_rng(0), tmp_path / "data"
    for index in range(20):
        file = data / "ab"[index % 2] / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (8, 8), dtype=np.uint8)).save(file)
    given = ("genotype=DARTS_V2", "dataset=folder", f"dataset.root={data}", "dataset.source.image_size=8")
    trained, written, out = (tmp_path / name for name in ("trained", "written", "out"))
    assert run("evaluate", *given, *SIZES, f"hydra.run.dir={trained}").status == 0
    (trained / "network.json").unlink()
    moved = data.rename(tmp_path / "moved")
    done = run("predict", f"model={trained}", f"input={moved}", f"hydra.run.dir={out}")
    assert done.status == 2 and done.err.count("\n") == 1 and str(data) in done.err, done.err
    command = done.err[done.err.index("python -m nas.export") : done.err.index(" (dataset.root=")]
    words = shlex.split(command)[3:]
    done = run("export", *words, f"dataset.root={moved}", "images=2", f"hydra.run.dir={written}")
    assert done.status == 0, done.err
    model = f"model={written / 'model.onnx'}"
    done = run("predict", model, f"input={moved}", f"hydra.run.dir={out}")
    assert done.status == 0 and "20 pictures" in done.out and "of 20 as labelled" in done.out, done.err
    # Where colours were left to the pictures, and others lie there now, a message says what to type.
    config = OmegaConf.load(trained / "config.yaml")
    config.dataset.normalisation = config.dataset.source.normalisation = "imagenet"
    config.dataset.source.update({"root": str(moved), "channels": None, "mean": None, "std": None})
    OmegaConf.save(config, trained / "config.yaml")
    for file in moved.rglob("*.png"):
        red = np.array(Image.open(file).convert("RGB")) * np.array([1, 0, 0], np.uint8)
        Image.fromarray(red).save(file)
    for done in (
        run("predict", f"model={trained}", f"input={moved}", f"hydra.run.dir={tmp_path / 'a'}"),
        run("export", f"run={trained}", "images=2", f"hydra.run.dir={tmp_path / 'b'}"),
    ):
        assert done.status == 2 and "leaves the colours to the pictures" in done.err, done.err
    config.dataset.source.channels = 1
    OmegaConf.save(config, trained / "config.yaml")
    done = run("export", f"run={trained}", "images=2", f"hydra.run.dir={tmp_path / 'c'}")
    assert done.status == 0, done.err
    # Labels of other classes are refused before anything is written.
    (tmp_path / "list.csv").write_text("path,label\nmoved/a/0.png,c\n")
    done = run("predict", model, f"input={tmp_path / 'list.csv'}", f"hydra.run.dir={tmp_path / 'none'}")
    assert done.status == 2 and "no class of this network: c" in done.err, done.err
    assert not (tmp_path / "none" / "config.yaml").exists()
