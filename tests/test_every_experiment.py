"""Every file of conf/experiment as its header says it is typed, beside debug=fast; `make test-all` runs it.

Real data are taken from the folder that the environment variable NAS_DATA names, laid out as their owners lay
them out (docs/data.md). Where it has none, texts, CIFAR-100 and ImageNet are made up with the numbers of the
real ones, and ImageNet-16-120 with checksums of its own; CIFAR-10 cannot be, and its tests skip.
"""

import hashlib
import os
import pickle
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from PIL import Image

from experiments.rows.items import headers
from nas.data.ptb import LAYOUT as PTB
from nas.data.wikitext2 import LAYOUT as WIKITEXT2
from nas.running.config import CONF, register_resolvers
from nas.running.declared import read_file
from tests.commands.test_protocol import forked  # noqa: F401  (a fixture)

HEADERS = headers()
FILES = {name: read_file(CONF / f"experiment/{name}.yaml")["made_for"] for name in HEADERS}
# Placeholders of commands -> the data set whose folder they stand for, where they say which.
NAMED = {
    "<cifar10>": "cifar10", "<imagenet>": "imagenet", "<ptb>": "ptb",
    "<wikitext2>": "wikitext2",
}  # fmt: skip
REAL = {
    "cifar10": "cifar-10-batches-bin", "cifar100": "cifar-100-binary", "ptb": "ptb",
    "wikitext2": "wikitext-2", "imagenet": "imagenet/train", "imagenet20": "tiny-imagenet-20/train",
    "imagenet16_120": "ImageNet16", "nasbench201": "nasbench201/nb201.csv",
}  # fmt: skip
PARTS = ("train", "valid", "test")
IMAGENET16 = {"train_data_batch_1": 151_700, "val_data": 6_000}


def write_text(folder, layout, names):
    """Words that are drawn, as many as the text of a layout has, and as many different ones."""
    folder.mkdir(parents=True)
    for name, tokens in zip(names, layout.num_tokens, strict=True):
        # 20 words a line, and its end is one; the last line has what is missing.
        lines, rest = divmod(tokens, 21)
        words = np.random.default_rng(0).integers(layout.vocabulary_size - 1, size=tokens)
        words[: layout.vocabulary_size - 1] = np.arange(layout.vocabulary_size - 1)
        text = [" ".join(f"w{word}" for word in words[20 * at : 20 * at + 20]) for at in range(lines)]
        text += [" ".join(f"w{word}" for word in words[: rest - 1])] if rest else []
        (folder / name).write_text("\n".join(text) + "\n")


def write_images(folder, classes, train, valid):
    """One picture under many names, in a folder a class."""
    picture = folder / "one.png"
    folder.mkdir(parents=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(picture)
    for part, count in (("train", train), ("val", valid)):
        for number in range(classes):
            place = folder / part / f"n{number:08d}"
            place.mkdir(parents=True)
            for at in range(count):
                os.link(picture, place / f"{at}.png")


def write_cifar100(folder):
    folder.mkdir(parents=True)
    for name, count in (("train.bin", 50_000), ("test.bin", 10_000)):
        labels = (np.arange(count)[:, None] % 100).astype("uint8")
        pixels = np.random.default_rng(0).integers(0, 256, (count, 3072), dtype=np.uint8)
        (folder / name).write_bytes(np.concatenate([labels // 5, labels, pixels], axis=1).tobytes())


def write_imagenet16(folder):
    """The files of ImageNet-16-120, with as many images of its classes."""
    (folder / "ImageNet16").mkdir(parents=True)
    for name, count in IMAGENET16.items():
        pixels = np.random.default_rng(0).integers(0, 256, (count, 768), dtype=np.uint8)
        entry = {"data": pixels, "labels": [1 + at % 120 for at in range(count)]}
        (folder / "ImageNet16" / name).write_bytes(pickle.dumps(entry, protocol=2))


def checksums(folder):
    """The words that let a run take the files of `write_imagenet16` for the official ones."""
    sums = {
        name: hashlib.md5((folder / "ImageNet16" / name).read_bytes(), usedforsecurity=False).hexdigest()
        for name in IMAGENET16
    }
    train, val = IMAGENET16
    return [
        "+dataset.source.files._target_=nas.data.imagenet16.PickledFiles",
        f"+dataset.source.files.train=[[{train},{sums[train]}]]",
        f"+dataset.source.files.test=[[{val},{sums[val]}]]",
        f"+dataset.source.files.num_train={IMAGENET16[train]}",
        f"+dataset.source.files.num_test={IMAGENET16[val]}",
    ]


WRITERS = {
    "imagenet16_120": write_imagenet16,
    "cifar100": lambda place: write_cifar100(place / "cifar-100-binary"),
    "ptb": lambda place: write_text(place / "ptb", PTB, [f"ptb.{part}.txt" for part in PARTS]),
    "wikitext2": lambda place: write_text(
        place / "wikitext-2", WIKITEXT2, [f"wiki.{part}.tokens" for part in PARTS]
    ),
    "imagenet": lambda place: write_images(place, 1000, 40, 1),
    "imagenet20": lambda place: write_images(place, 20, 50, 10),
}


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """`data("ptb")`: the folder or file that a command names for it."""
    folder, made = tmp_path_factory.mktemp("data"), {}

    def find(name):
        real = Path(os.environ.get("NAS_DATA", os.devnull)) / REAL[name]
        if real.exists():
            return real if name == "nasbench201" else real.parent
        if name not in WRITERS:
            pytest.skip(f"NAS_DATA names no folder with {REAL[name]}, which cannot be made up")
        if name not in made:
            made[name] = folder / name
            WRITERS[name](made[name])
        return made[name]

    return find


def composed(name, root="search"):
    """The configuration of a file's run."""
    register_resolvers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(root, [f"experiment={name}"])
    GlobalHydra.instance().clear()
    return config


def typed(name, data, kind, genotype=None):
    """The words of a header's command after the program: on a processor, one job, placeholders filled in."""
    command = re.sub(r"<run folder[^>]*>", str(genotype), HEADERS[name].command)
    text = "\n".join(
        word for word in shlex.split(command)[3:] if word != "-m" and not word.startswith("sweep=")
    )
    text = re.sub(r"hardware=(gpu|ddp8)\b", "hardware=cpu", text)
    # Of a sweep's choices the first.
    text = re.sub(r"^([\w.]+=[^\[\],\n]+),[^\n]*$", r"\1", text, flags=re.MULTILINE)
    for placeholder, known in NAMED.items():
        if placeholder in text:
            text = text.replace(placeholder, str(data(known)))
    searched = re.search("<(folder|cifar)>", text)
    if searched is not None:
        row = kind == "protocol"
        one = read_file(CONF / f"experiment/{name}.yaml")["search"]["experiment"] if row else name
        known = composed(one, "search" if row else kind).dataset.name
        text = text.replace(searched[0], str(data(known)))
        made = (
            known == "imagenet16_120"
            and not (Path(os.environ.get("NAS_DATA", os.devnull)) / REAL[known]).exists()
        )
        if made and row:
            quoted = ",".join(f"'{word}'" for word in checksums(data(known)))
            text = re.sub(r"^((?:search\.)?overrides=\[.*)\]$", rf"\1,{quoted}]", text, flags=re.MULTILINE)
        elif made:
            text = "\n".join([text, *checksums(data(known))])
    text = re.sub(r"<(file|CSV)>", lambda _: str(data("nasbench201")), text)
    assert "<" not in text, text
    return text.split("\n")


@pytest.mark.parametrize("name", [name for name, kind in FILES.items() if kind != "protocol"])
def test_an_experiment_runs_as_its_header_says(name, data, run, tmp_path):
    kind, found = FILES[name], None
    if "<run folder" in HEADERS[name].command:
        found = tmp_path / "found"
        config = composed(name, kind)
        method = "dsonas_random" if "Dso" in config.space["_target_"] else "random"
        read = ["dataset=wikitext_mini"] if config.space.name == "darts_rnn" else []
        chosen = [f"space={config.space.name}", f"method={method}", *read, "debug=fast"]
        drawn = run("search", *chosen, f"hydra.run.dir={found}")
        assert drawn.status == 0, drawn.err
    words = typed(name, data, kind, found)
    if not any(word.startswith("dataset.root=") for word in words):
        known = composed(name, kind).dataset
        words += [f"dataset.root={data(known.name)}"] if known.get("root") is not None else []
    done = run(kind, *words, "debug=fast", "hardware.threads=1", f"hydra.run.dir={tmp_path / 'run'}")
    assert done.status == 0, f"{words}\n{done.out}\n{done.err}"
    assert (tmp_path / "run/summary.json").exists()


@pytest.mark.usefixtures("forked")
@pytest.mark.parametrize("name", [name for name, kind in FILES.items() if kind == "protocol"])
def test_a_row_runs_from_its_searches_to_its_figures(name, data, run, tmp_path):
    words = [*typed(name, data, "protocol"), "debug=fast", f"hydra.run.dir={tmp_path / 'run'}"]
    done = run("protocol", *words)
    assert done.status == 0, f"{words}\n{done.out}\n{done.err}\n{(tmp_path / 'output').read_text()[-4000:]}"
    assert (tmp_path / "run/table.csv").exists()
