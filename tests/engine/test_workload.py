"""What a plan says of steps is what the loaders of the search then have, without reading what is known."""

from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from nas.data.cifar import Cifar
from nas.data.digits import Digits
from nas.data.embedded import WikiTextMini
from nas.data.folder import ImageFolder
from nas.data.imagenet16 import ImageNet16
from nas.data.ptb import PennTreebank
from nas.data.sources import domain_of
from nas.data.text_split import text_split
from nas.data.wikitext2 import WikiText2
from nas.domains.choose import DOMAINS
from nas.engine.data_module import SearchData, search_split
from nas.engine.text_data import TextSearchData
from nas.errors import ConfigError
from nas.spaces.recurrent.space import RecurrentSpace

TEXT = {
    "batch_size": 32,
    "valid_batch_size": 10,
    "test_batch_size": 1,
    "split": "valid",
    "split_ratio": 0.5,
    "fraction": 1.0,
    "bptt": {"steps": 35, "half": 0.05, "deviation": 0.0, "shortest": 5, "longest": 55},
}
IMAGES = {"batch_size": 64, "split": "random", "split_ratio": 0.5, "fraction": 1.0}
SPACE = RecurrentSpace("darts_rnn", num_nodes=2, hidden_size=4)


def config(dataset, limit=1.0, overfit=False, devices=1):
    return {
        "seed": 3,
        "split_seed": 0,
        "overfit": overfit,
        "dataset": dataset,
        "trainer": {"limit_train_batches": limit, "limit_val_batches": limit},
        "hardware": {"devices": devices, "num_nodes": 1},
    }


def method(joint=False):
    return SimpleNamespace(one_level=joint)


def work(given, source, joint=False):
    return DOMAINS[domain_of(source)].workload(given, SPACE, method(joint), source)


@pytest.mark.parametrize("overfit", [False, True])
@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("changed", [{}, {"fraction": 0.3, "split": "ordered"}, {"valid_batch_size": 7}])
def test_steps_on_text_are_those_of_the_loaders(changed, joint, overfit):
    given = TEXT | changed
    found = work(config(given, overfit=overfit), WikiTextMini(), joint)
    split = text_split(WikiTextMini(), given["split"], given["split_ratio"], given["fraction"])
    sizes = {key: given[key] for key in ("batch_size", "valid_batch_size", "test_batch_size", "bptt")}
    split = split.joined() if joint else split
    data = TextSearchData(WikiTextMini(), **sizes, seed=3, overfit=overfit, split=split)
    lengths = []
    for epoch in range(4):
        data.trainer = SimpleNamespace(current_epoch=epoch, world_size=1, global_rank=0)
        lengths.append(len(data.train_dataloader()))
    assert found.epochs(4) == lengths
    assert found.validation() == len(data.val_dataloader())


@pytest.mark.parametrize("joint", [False, True])
def test_steps_on_images_are_those_of_the_loaders(joint):
    source = Digits()
    found = work(config(IMAGES), source, joint)
    split = search_split(source, "random", 0.5, 1.0, 0)
    split = split.joined() if joint else split
    data = SearchData(source, 64, 3, {}, split=split)
    data.prepare()
    assert found.epochs(2) == [len(data.train_dataloader().iterables["weight"])] * 2
    assert found.validation() == len(data.val_dataloader())


def test_the_limits_are_lightnings():
    assert work(config(TEXT, 7), WikiTextMini()).epochs(2) == [7, 7]
    found, half = (work(config(TEXT, limit), WikiTextMini()) for limit in (1.0, 0.5))
    assert half.epochs(3) == [steps // 2 for steps in found.epochs(3)]
    assert half.validation() == found.validation() // 2


def test_processes_share_the_training_text_and_validate_on_all_of_it():
    one, two = (work(config(TEXT, devices=devices), WikiTextMini()) for devices in (1, 2))
    assert sum(two.epochs(4)) == pytest.approx(sum(one.epochs(4)) / 2, rel=0.05)
    assert two.validation() == one.validation()


@pytest.mark.parametrize("source", [PennTreebank, WikiText2])
def test_a_text_of_known_length_need_not_be_there(source, tmp_path):
    missing = source(tmp_path / "nowhere")
    found = work(config(TEXT | {"batch_size": 256}), missing)
    tokens, valid, _ = missing.num_tokens
    # A segment has 35 words, or 17 with a probability of 5 %.
    assert found.epochs(1)[0] == pytest.approx(tokens / 256 / 34.1, rel=0.05)
    assert found.validation() == -(-(valid // 10 - 1) // 35)
    weight, architecture, validated = found.batches(SimpleNamespace(device=torch.device("cpu")), 256)
    assert weight.tokens_LB.shape == architecture.tokens_LB.shape == (35, 256)
    assert validated.tokens_LB.shape == (35, 10)


def test_any_other_text_is_read():
    class Short:
        name, vocabulary_size = "short", 5

        def train(self):
            return torch.arange(401) % 5

        def valid(self):
            return torch.arange(80) % 5

    assert work(config(TEXT | {"batch_size": 4}), Short()).epochs(2) == [3, 3]
    with pytest.raises(ConfigError, match=r"dataset\.batch_size: must be an integer from 1 to 40"):
        work(config(TEXT | {"batch_size": 60}), Short())


def test_what_a_source_declares_need_not_be_there():
    for source, number in ((Cifar("cifar10", "nowhere"), 50_000), (ImageNet16("nowhere"), 151_700)):
        found = work(config(IMAGES), source)
        assert found.size == f"{number:,} (declared, not counted)"
        assert found.epochs(1) == [-(-number // 2 // 64)]


def image_folder(root, sizes=(6, 4)):
    for part in ("train", "val"):
        for label, size in zip("ab", sizes, strict=True):
            (root / part / label).mkdir(parents=True)
            for number in range(size):
                Image.new("RGB", (9, 9)).save(root / part / label / f"{number}.png")


def test_files_are_counted_where_they_are_whatever_the_data_set_is_called(tmp_path):
    settings = {"image_size": 8, "num_classes": 2, "name": "imagenet"}
    given = IMAGES | {"batch_size": 2}
    unknown = work(config(given), ImageFolder(tmp_path, **settings))
    assert unknown.epochs(2) is None and unknown.validation() is None
    assert unknown.size == "unknown (its files are not here)"
    declared = work(config(given), ImageFolder(tmp_path, **settings, num_images=[100, 50]))
    assert declared.epochs(2) == [25, 25]
    image_folder(tmp_path)
    for source in (
        ImageFolder(tmp_path, **settings),
        ImageFolder(tmp_path, **settings, num_images=[100, 50]),
    ):
        found = work(config(given), source)
        assert (found.size, found.epochs(1), found.validation()) == ("10 (counted)", [2], 3)


def test_lists_say_how_many_images_a_search_reads(tmp_path):
    for part, count in (("weight", 7), ("architecture", 3)):
        (tmp_path / part).write_text("".join(f"train/a/{number}.png\n\n" for number in range(count)))
    lists = {part: str(tmp_path / part) for part in ("weight", "architecture")}
    given = IMAGES | {"batch_size": 2, "lists": lists}
    source = ImageFolder(tmp_path / "nowhere", num_classes=2)
    found, joint = (work(config(given), source, joint) for joint in (False, True))
    assert (found.epochs(1), found.validation()) == ([3], 2)
    assert (joint.epochs(1), joint.validation()) == ([5], 5)


def test_a_text_of_unknown_length_that_is_not_there():
    class Elsewhere:
        name, vocabulary_size = "elsewhere", 5

        def train(self):
            raise FileNotFoundError(2, "No such file", "text.txt")

    found = work(config(TEXT), Elsewhere())
    assert found.epochs(1) is None and found.validation() is None
    assert found.size.startswith("unknown (") and "text.txt" in found.size
    assert found.batches(SimpleNamespace(device=torch.device("cpu")), 32)[0].tokens_LB.shape == (35, 32)
