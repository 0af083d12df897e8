"""What a search and an evaluation take of a text: whole parts or their beginnings, and a hash of it."""

import pytest
import torch

from nas.data.split import hash_indices
from nas.data.text_split import head, text_split, text_subset
from nas.errors import ConfigError


class Counting:
    """Streams that count: training from 0, validation from 1000, test from 2000."""

    name = "counting"
    vocabulary_size = 3000

    def train(self):
        return torch.arange(100)

    def valid(self):
        return torch.arange(1000, 1020)

    def test(self):
        return torch.arange(2000, 2020)

    def words(self):
        return tuple(map(str, range(3000)))


def test_weights_get_the_training_part_and_the_architecture_the_validation_part():
    split = text_split(Counting())
    assert split.weight.tokens_N.tolist() == list(range(100))
    assert split.architecture.tokens_N.tolist() == list(range(1000, 1020))
    assert split.to_dict() == {
        "weight": {"part": "train", "tokens": [0, 100]},
        "architecture": {"part": "valid", "tokens": [0, 20]},
        "hash": hash_indices(split.weight.tokens_N, split.architecture.tokens_N),
    }


def test_ordered_divides_the_training_part_first_and_takes_the_fraction_of_each():
    split = text_split(Counting(), mode="ordered", ratio=0.6, fraction=0.5)
    assert split.weight.tokens_N.tolist() == list(range(30))
    assert split.architecture.tokens_N.tolist() == list(range(60, 80))
    assert split.architecture.to_dict() == {"part": "train", "tokens": [60, 80]}


def test_a_fraction_is_the_beginning_of_training_and_leaves_validation_whole():
    split = text_split(Counting(), fraction=0.29)
    assert split.weight.tokens_N.tolist() == list(range(29))
    assert len(split.architecture.tokens_N) == 20
    (train, valid), _ = text_subset(Counting(), fraction=0.29)
    assert (len(train.tokens_N), len(valid.tokens_N)) == (29, 20)


def test_the_hash_tells_texts_and_cuts_apart():
    class Other(Counting):
        def valid(self):
            return torch.arange(1001, 1021)

    hashes = [
        text_split(Counting()).hash,
        text_split(Counting(), fraction=0.5).hash,
        text_split(Counting(), mode="ordered").hash,
        text_split(Other()).hash,
        text_subset(Counting(), 0.5)[1] + "",
    ]
    assert hashes[0] == text_split(Counting(), ratio=0.9).hash, "the ratio has no effect on valid"
    assert len(set(hashes[:4])) == 4
    assert hashes[4] == hashes[1], "an evaluation of the same streams"


@pytest.mark.parametrize(
    "settings, complaint",
    [
        (
            {"mode": "stratified"},
            r"dataset\.split: must be one of valid, ordered for a text, not 'stratified'",
        ),
        ({"ratio": 1.0}, r"dataset\.split_ratio: must be between 0 and 1.*not 1\.0"),
        ({"fraction": 0}, r"dataset\.fraction: must be above 0 and at most 1, not 0"),
        ({"fraction": 0.001}, r"dataset\.fraction=0\.001 leaves no token of 100"),
        ({"mode": "ordered", "ratio": 0.001}, r"leaves no token of 0"),
    ],
)
def test_bad_settings_are_named(settings, complaint):
    with pytest.raises(ConfigError, match=complaint):
        text_split(Counting(), **settings)


def test_the_whole_stream_is_not_copied():
    stream_N = torch.arange(10)
    assert head(stream_N, 1.0).data_ptr() == stream_N.data_ptr()
