"""Every file of conf/dataset: the same keys, a comment on each, and a source that can be made from it."""

from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from nas.data.augment import BatchAugment
from nas.data.text_segments import SegmentLengths

FILES = sorted((Path(__file__).parents[2] / "conf" / "dataset").glob("*.yaml"))
NAMES = [path.stem for path in FILES]


def loaded(path):
    """A file with the ones that it builds upon."""
    config = OmegaConf.load(path)
    bases = [
        loaded(path.with_name(f"{name}.yaml")) for name in config.pop("defaults", []) if name != "_self_"
    ]
    return OmegaConf.merge(*bases, config)


TEXTS = [path for path in FILES if "bptt" in loaded(path)]
IMAGES = [path for path in FILES if path not in TEXTS]


def test_there_is_one_file_for_every_data_set():
    assert {"cifar10", "cifar100", "digits", "imagenet", "ptb", "wikitext2", "wikitext_mini"} <= set(NAMES)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_overrides_never_depend_on_the_data_set(path):
    group, name = (TEXTS, "bptt") if path in TEXTS else (IMAGES, "augment")
    config, reference = loaded(path), loaded(group[0])
    # Images in memory have no file names to list.
    files = "ImageFolder" in config.source._target_
    assert config.keys() == reference.keys() | ({"lists"} if files else set())
    assert config[name].keys() == reference[name].keys()


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_every_key_says_what_it_is(path):
    lines = [line for line in path.read_text().splitlines() if line.strip()]
    assert [line for line in lines if "#" not in line] == []


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_the_text_is_what_the_file_says_and_its_lengths_are_valid(path):
    config = OmegaConf.create({"dataset": loaded(path)})
    source = instantiate(config.dataset.source)
    assert source.name == config.dataset.name == path.stem
    assert source.vocabulary_size > 1000
    SegmentLengths(**config.dataset.bptt)


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.stem)
def test_the_source_is_what_the_file_says_and_fits_its_augmentation(path):
    config = OmegaConf.create({"dataset": loaded(path)})
    source = instantiate(config.dataset.source)
    assert source.name == config.dataset.name == path.stem
    assert source.image_shape[0] == len(source.mean)
    BatchAugment(source.mean, source.std, cutout=config.dataset.cutout, **config.dataset.augment)
