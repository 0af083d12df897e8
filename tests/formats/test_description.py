"""What a file says of its network survives the file, and what is broken is refused with the file's name."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import ConfigError
from nas.formats.description import Description, Preprocessing, from_json
from nas.formats.timm_models import crop_pct
from tests.formats.networks import SMALL, described, step_of


@pytest.mark.parametrize("name", SMALL)
def test_json_and_back(name):
    description = described(name)
    assert from_json(description.to_json(), "here") == description


def test_of_a_rectangle_and_of_a_text_and_back():
    prepared = Preprocessing((8, 16), (8, 16), (0.5,) * 2, (0.5,) * 2)
    rectangle = Description(**{**vars(described()), "image_shape": (2, 8, 16), "preprocessing": prepared})
    text, _, _ = step_of("LSTM")
    for description in (rectangle, text):
        assert from_json(description.to_json(), "here") == description
    assert rectangle.preprocessing.color is None
    whole = json.loads(text.to_json())
    for key in whole.keys() - {"domain"}:
        for damaged in ({k: v for k, v in whole.items() if k != key}, whole | {key: [1, {"a": None}]}):
            # Anything has a truth value, and files of earlier versions have no tokenizer.
            if key != {True: "tied", False: "tokenizer"}[key in damaged]:
                with pytest.raises(ConfigError, match=r"^file: "):
                    from_json(json.dumps(damaged), "file")


@given(st.lists(st.text(max_size=20), min_size=3, max_size=3))
def test_class_names_may_be_anything(names):
    description = Description(**{**vars(described()), "class_names": names})
    assert from_json(description.to_json(), "here").class_names == tuple(names)


@given(st.text(max_size=40) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_no_text_breaks_the_reader(text):
    with pytest.raises(ConfigError, match=r"^model\.onnx: "):
        from_json(text, "model.onnx")


@pytest.mark.parametrize("key", json.loads(described().to_json()))
def test_every_key_is_needed_and_of_its_kind(key):
    whole = json.loads(described().to_json())
    for damaged in ({k: v for k, v in whole.items() if k != key}, whole | {key: [1, {"a": None}]}):
        with pytest.raises(ConfigError, match=r"^file: "):
            from_json(json.dumps(damaged), "file")


def test_what_does_not_belong_together_is_refused():
    given = vars(described())
    with pytest.raises(ConfigError, match="2 class names for 3 classes"):
        Description(**{**given, "class_names": ("a", "b")})
    with pytest.raises(ConfigError, match=r"images \[1, 16, 16\]"):
        Description(**{**given, "image_shape": (1, 16, 16)})
    for resize, crop in ((16, 20), ((16, 20), (16, 21)), ((16, 20), 17), (16, (16, 16))):
        with pytest.raises(ConfigError, match="crop="):
            Preprocessing(resize, crop, (0.5,), (0.5,))
    with pytest.raises(ConfigError, match="std"):
        Preprocessing(16, 16, (0.5,), (0.0,))


@given(st.integers(1, 600), st.integers(0, 300))
def test_timm_resizes_to_what_the_share_stands_for(crop, more):
    from timm.data.transforms_factory import transforms_imagenet_eval

    share = crop_pct(Preprocessing(crop + more, crop, (0.5,) * 3, (0.5,) * 3))
    resize = transforms_imagenet_eval(img_size=crop, crop_pct=share).transforms[0]
    assert resize.size == crop + more
    assert 0 < share <= 1
    if crop + more == int(crop * 256 / 224) and more:
        assert share == 0.875, "as timm's models have it"
