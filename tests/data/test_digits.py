"""The digits: real, stratified, and scaled by constants that are those of the training part."""

import pytest
import torch

from nas.data import digits
from nas.data.digits import Digits, read_digits
from nas.errors import ConfigError


def test_constants_are_those_of_the_training_images():
    pixels = Digits().train().images_NCHW.double() / 255
    assert Digits.mean[0] == pytest.approx(pixels.mean().item(), abs=5e-5)
    assert Digits.std[0] == pytest.approx(pixels.std(correction=0).item(), abs=5e-5)
    assert pixels.shape == (1437, *Digits.image_shape)


def test_the_file_is_what_scikit_learn_gives():
    from sklearn.datasets import load_digits

    counts_NP, labels_N = read_digits()
    expected = load_digits()
    assert (counts_NP.numpy() == expected.data).all() and (labels_N.numpy() == expected.target).all()
    assert counts_NP.shape == (1797, 64)


def test_where_the_file_lies_elsewhere_scikit_learn_is_asked(monkeypatch):
    here = read_digits()
    monkeypatch.setattr(digits, "FILE", "nowhere.csv.gz")
    for found, expected in zip(read_digits(), here, strict=True):
        assert torch.equal(found, expected)


def test_pixels_are_fifteen_times_the_ink():
    from sklearn.datasets import load_digits

    values = torch.cat([Digits().train().images_NCHW, Digits().test().images_NCHW])
    assert set(values.unique().tolist()) == {15 * ink for ink in range(17)}
    assert values.sum(dtype=torch.int64).item() == 15 * load_digits().images.sum()


def test_the_test_set_is_a_fixed_fifth_of_every_class():
    train, test = Digits().train(), Digits().test()
    in_test = test.labels.bincount() / (train.labels.bincount() + test.labels.bincount())
    assert len(test) == 360
    assert ((in_test - 360 / 1797).abs() < 0.005).all()
    assert torch.equal(test.images_NCHW, Digits(test_seed=0).test().images_NCHW)
    assert not torch.equal(test.images_NCHW, Digits(test_seed=1).test().images_NCHW)


def test_a_seed_that_is_no_seed_is_named():
    with pytest.raises(ConfigError, match=r"test_seed: .* not -1"):
        Digits(test_seed=-1).train()
