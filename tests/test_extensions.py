"""The packages under examples/packages as an installation has them: their options are every command's own."""

import importlib
import shutil
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from nas import genotype as genotypes
from nas.running import extensions
from tests.conftest import TINY

PACKAGES = Path(__file__).resolve().parent.parent / "examples/packages"
SHORT = [one for one in TINY if one.startswith("trainer.")]
SMALL = [
    "space.cells_per_stage=1",
    "space.init_channels=4",
    "recipe=digits_nasbench201",
    "dataset.batch_size=16",
]


@pytest.fixture
def site(tmp_path, monkeypatch):
    """`site("space") -> folder`: a package of the examples as pip lays it out, on Python's path."""
    folder = tmp_path / "site"
    folder.mkdir()

    def install(name: str, version: str = "") -> Path:
        project = tomllib.loads((PACKAGES / name / "pyproject.toml").read_text())["project"]
        (points,) = project["entry-points"].values()
        package = next(iter(points))
        shutil.copytree(PACKAGES / name / package, folder / package)
        lay(folder, project["name"], points)
        forget()
        return folder / package

    monkeypatch.syspath_prepend(str(folder))
    yield install
    for name in [one for one in sys.modules if one.split(".")[0].startswith(("nas_", "wrong"))]:
        del sys.modules[name]
    forget()


def lay(folder, name, points):
    """What an installation says of a distribution."""
    info = folder / f"{name.replace('-', '_')}-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
    lines = "".join(f"{key} = {value}\n" for key, value in points.items())
    (info / "entry_points.txt").write_text(f"[nas.configurations]\n{lines}")


def forget():
    importlib.invalidate_caches()
    extensions.installed.cache_clear()
    extensions._named.cache_clear()


def test_an_operation(site, run, tmp_path):
    site("operation")
    folder, words = tmp_path / "run", ["space=blur", *SMALL, *SHORT]
    done = run("search", *words, f"hydra.run.dir={folder}")
    assert done.status == 0, done.err
    # The folder names the operation, and the installation vouches for it: no trust= is asked for.
    resumed = run("search", f"resume={folder}", "trainer.max_epochs=2", "resume_schedule=restart")
    assert resumed.status == 0, resumed.err
    assert "nas_blur.BlurConv" in (folder / "architecture.csv").read_text()
    text = "|nas_blur.BlurConv~0|+|none~0|nas_blur.BlurConv~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"
    (tmp_path / "cell.txt").write_text(text)
    assert run("cost", f"genotype={tmp_path / 'cell.txt'}", *words[:4]).status == 0


def test_a_relaxation(site, run, tmp_path):
    site("relaxation")
    folder = tmp_path / "run"
    done = run("search", "method=softplus", "space=nasbench201", *SMALL, *SHORT, f"hydra.run.dir={folder}")
    assert done.status == 0, done.err
    resumed = run("search", f"resume={folder}", "trainer.max_epochs=2", "resume_schedule=restart")
    assert resumed.status == 0, resumed.err


def test_a_space(site, run, tmp_path):
    site("space")
    folder, trained = tmp_path / "run", tmp_path / "trained"
    done = run("search", "space=residual", *SHORT, f"hydra.run.dir={folder}", "dataset.batch_size=16")
    assert done.status == 0, done.err
    assert genotypes.load(folder).space == "residual"
    words = [f"genotype={folder}", "space=residual", "test=false", *SHORT]
    assert run("evaluate", *words, f"hydra.run.dir={trained}").status == 0


def test_a_surrogate(site, run, tmp_path):
    site("surrogate")
    folder = tmp_path / "run"
    words = ["space=nasbench201", "method=random", *SMALL, "tabular=counted", "tabular.metric=cifar10_test"]
    done = run("search", *words, "tabular.cost=phone_ms", f"hydra.run.dir={folder}")
    assert (done.status, done.err) == (0, "")
    assert "(predicted by nas_counted.Counted, not trained)" in done.out
    # Unlike other parts it needs the caller's word, for it may unpickle what the folder names.
    resumed = run("search", f"resume={folder}")
    assert resumed.status == 2 and "say trust=nas_counted" in resumed.err


def test_a_data_set(site, run, tmp_path):
    site("dataset")
    digits = load_digits()
    images, labels = (digits.images * 255 / 16).round().astype(np.uint8), digits.target.astype(np.uint8)
    for part, some in (("train", slice(0, 300)), ("t10k", slice(300, 400))):
        header = np.array([2051, len(images[some]), 8, 8], ">i4").tobytes()
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(header + images[some].tobytes())
        header = np.array([2049, len(labels[some])], ">i4").tobytes()
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(header + labels[some].tobytes())
    words = ["dataset=idx", f"dataset.root={tmp_path}", "space=nasbench201", *SMALL, *SHORT]
    shape = "dataset.source.image_shape=[1,8,8]"
    done = run("search", *words, shape, f"hydra.run.dir={tmp_path / 'run'}")
    assert done.status == 0, done.err
    wrong = run("search", *words)
    assert wrong.status == 2 and "have 8 rows of 8 pixels" in wrong.err
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03")
    broken = run("search", *words, shape)
    assert broken.status == 2 and "is no whole IDX file" in broken.err


def test_the_list_of_commands_names_what_is_installed(site, monkeypatch, capsys):
    site("space")
    from nas.__main__ import main

    monkeypatch.setattr(sys, "argv", ["nas"])
    main()
    assert "from nas-residual 0.1.0: space=residual" in capsys.readouterr().out


def test_nothing_is_imported_before_it_is_chosen(site, run):
    site("space")
    assert run("search", "--cfg", "job").status == 0
    assert "nas_residual" not in sys.modules


def test_a_folder_may_name_what_an_extension_lists_at_the_same_key_alone(site):
    package = site("space")
    (package / "conf/method").mkdir()
    (package / "conf/method/own.yaml").write_text(
        "defaults: [darts1]\nupdate: {_target_: nas_residual.Update}\n"
    )
    extensions._named.cache_clear()
    assert "nas_residual.Residual" in extensions.listed("space")
    assert "nas_residual.Update" in extensions.listed("method.update")
    assert not any("nas_residual" in one for one in extensions.listed("dataset.source"))


def test_an_option_of_two_packages_is_refused(site, run):
    package = site("space")
    shutil.copy(package / "conf/space/residual.yaml", package / "conf/space/darts.yaml")
    done = run("search", "space=darts", "--cfg", "job")
    assert done.status == 2
    assert "space=darts: this project and nas-residual 0.1.0 both have an option of this name" in done.err
    assert run("search", "space=residual", "--cfg", "job").status == 0


def test_a_package_whose_folder_is_missing_is_named(site, run, tmp_path):
    lay(tmp_path / "site", "wrong", {"wrong": "wrong.conf"})
    forget()
    done = run("search", "--cfg", "job")
    assert done.status == 2 and done.err.count("\n") == 1
    assert "the installed package wrong 0.1.0 names wrong.conf as its folder" in done.err


def test_the_working_folder_installs_nothing(site, run, tmp_path, monkeypatch):
    """With `python -m` it stands on the path, and a folder of somebody else's may hold anything."""
    site("space")
    monkeypatch.chdir(tmp_path / "site")
    forget()
    assert extensions.installed() == ()
