"""Every file of conf/dataset: the same keys, a comment on each, and a source that can be made from it."""

from pathlib import Path

import pytest
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from nas.data.augment import BatchAugment, of_batches
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
# Without a folder or a file of the user's there is no source to be made.
OWN = ("arrays", "corpus", "csv", "folder")
IN_A_FILE = ("arrays", "csv")
# Of .npy files, which hold one array each.
SEVERAL = ("labels", "test_file", "test_labels")
OF_PICTURES = {"normalisation", "skip_corrupt"}
KEYS = {"arrays": set(SEVERAL), "corpus": {"tokenizer"}, "csv": OF_PICTURES, "folder": OF_PICTURES}


def test_there_is_one_file_for_every_data_set():
    assert {"cifar10", "cifar100", "digits", "imagenet", "ptb", "wikitext2", "wikitext_mini"} <= set(NAMES)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_overrides_never_depend_on_the_data_set(path):
    group, name = (TEXTS, "bptt") if path in TEXTS else (IMAGES, "augment")
    config, reference = loaded(path), loaded(group[0])
    # Images in memory have no files to list and to look at, and arrays lie in a file of their own.
    files = any(word in config.source._target_ for word in ("Folder", "Table"))
    own = ({"lists", "check"} if files else set()) | ({"file"} if path.stem in IN_A_FILE else set())
    # Of data of the user's, which nobody has chosen sizes for; with others it is typed as size=auto.
    own |= {"sizing"} if path.stem in OWN else set()
    usual = reference.keys() - {"file", *SEVERAL, "tokenizer", "sizing"}
    assert config.keys() == usual | own | KEYS.get(path.stem, set())
    assert config[name].keys() == reference[name].keys()


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_every_key_says_what_it_is(path):
    lines = [line for line in path.read_text().splitlines() if line.strip()]
    assert [line for line in lines if "#" not in line] == []


@pytest.mark.parametrize("path", [one for one in FILES if one.stem in OWN], ids=lambda path: path.stem)
def test_data_of_ones_own_must_be_named(path):
    key = "file" if path.stem in IN_A_FILE else "root"
    with pytest.raises(InstantiationException) as error:
        instantiate(OmegaConf.create({"dataset": loaded(path)}).dataset.source)
    assert f"dataset.{key}" in str(error.value.__cause__ or error.value)


def carried(paths):
    return [path for path in paths if path.stem not in OWN]


@pytest.mark.parametrize("path", carried(TEXTS), ids=lambda path: path.stem)
def test_the_text_is_what_the_file_says_and_its_lengths_are_valid(path):
    config = OmegaConf.create({"dataset": loaded(path)})
    source = instantiate(config.dataset.source)
    assert source.name == config.dataset.name == path.stem
    assert source.vocabulary_size > 1000
    SegmentLengths(**config.dataset.bptt)


@pytest.mark.parametrize("path", carried(IMAGES), ids=lambda path: path.stem)
def test_the_source_is_what_the_file_says_and_fits_its_augmentation(path):
    config = OmegaConf.create({"dataset": loaded(path)})
    source = instantiate(config.dataset.source)
    assert source.name == config.dataset.name == path.stem
    assert source.image_shape[0] == len(source.mean)
    settings = of_batches(source, config.dataset.augment)
    assert set(settings) == (
        {"pad"} if "Folder" in config.dataset.source._target_ else set(config.dataset.augment)
    )
    BatchAugment(source.mean, source.std, cutout=config.dataset.cutout, **settings)
