"""Augmentation of whole batches against a slow one, image by image, and against torchvision's transforms."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torchvision import transforms

from nas.data.augment import BatchAugment, Draw
from nas.errors import ConfigError

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def random_images(num_images: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (num_images, 3, height, width), dtype=torch.uint8, generator=generator)


def reference(augment: BatchAugment, images_BCHW: torch.Tensor, draw: Draw) -> torch.Tensor:
    """The papers' pipeline, one image at a time, with the same draws."""
    height, width = images_BCHW.shape[2:]
    normalise = transforms.Normalize(MEAN, STD)
    outputs = []
    for i, image_CHW in enumerate(images_BCHW):
        if augment.pad:
            top, left = int(draw.top_B[i]), int(draw.left_B[i])
            image_CHW = F.pad(image_CHW, (augment.pad,) * 4)[:, top : top + height, left : left + width]
        if augment.flip and draw.flip_B[i]:
            image_CHW = image_CHW.flip(2)
        x_CHW = normalise(transforms.ToTensor()(image_CHW.permute(1, 2, 0).numpy()))
        if augment.cutout:
            row, column, half = int(draw.row_B[i]), int(draw.column_B[i]), augment.cutout // 2
            x_CHW[:, max(row - half, 0) : row + half, max(column - half, 0) : column + half] = 0
        outputs.append(x_CHW)
    return torch.stack(outputs)


@given(
    num_images=st.integers(1, 5),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    pad=st.integers(0, 4),
    flip=st.booleans(),
    cutout=st.sampled_from([0, 2, 4, 12]),
    channels_last=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_a_batch_is_its_images_one_by_one(num_images, height, width, pad, flip, cutout, channels_last, seed):
    images_BCHW = random_images(num_images, height, width, seed)
    augment = BatchAugment(MEAN, STD, pad, flip, cutout, channels_last)
    draw = augment.draw(images_BCHW, torch.Generator().manual_seed(seed))
    assert torch.equal(augment.apply_draw(images_BCHW, draw), reference(augment, images_BCHW, draw))


def test_without_training_it_is_torchvisions_scaling_and_draws_nothing():
    images_BCHW = random_images(4, 6, 5)
    augment = BatchAugment(MEAN, STD, pad=4, flip=True, cutout=4)
    state = torch.get_rng_state()
    x_BCHW = augment(images_BCHW, train=False)
    plain = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    expected_BCHW = torch.stack([plain(image.permute(1, 2, 0).numpy()) for image in images_BCHW])
    torch.testing.assert_close(x_BCHW, expected_BCHW, rtol=0, atol=1e-6)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_generator_alone_decides():
    images_BCHW = random_images(8, 6, 6)
    augment = BatchAugment(MEAN, STD, pad=2, flip=True, cutout=2)
    first, again = (augment(images_BCHW, True, torch.Generator().manual_seed(7)) for _ in range(2))
    other = augment(images_BCHW, True, torch.Generator().manual_seed(8))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_the_images_given_are_left_as_they_were():
    images_BCHW = random_images(2, 4, 4)
    before = images_BCHW.clone()
    BatchAugment(MEAN, STD, cutout=4)(images_BCHW, train=True)
    assert torch.equal(images_BCHW, before)


def test_a_crop_holds_pixels_of_its_image_or_black():
    images_BCHW = (torch.arange(6)[:, None, None, None] * 40 + 30).expand(6, 3, 8, 8).to(torch.uint8)
    x_BCHW = BatchAugment((0, 0, 0), (1, 1, 1), pad=4)(images_BCHW, train=True)
    for image, x_CHW in zip(images_BCHW, x_BCHW, strict=True):
        assert set((x_CHW * 255).round().unique().tolist()) <= {0.0, float(image[0, 0, 0])}


def test_mirroring_twice_changes_nothing():
    images_BCHW = random_images(3, 4, 5)
    augment = BatchAugment((0, 0, 0), (1, 1, 1), flip=True)
    all_flipped = Draw(flip_B=torch.ones(3, dtype=torch.bool))
    once = (augment.apply_draw(images_BCHW, all_flipped) * 255).round().to(torch.uint8)
    twice = (augment.apply_draw(once, all_flipped) * 255).round().to(torch.uint8)
    assert torch.equal(twice, images_BCHW) and not torch.equal(once, images_BCHW)


def test_a_hole_is_a_square_that_may_leave_the_image():
    images_BCHW = torch.full((500, 3, 12, 9), 255, dtype=torch.uint8)
    x_BCHW = BatchAugment(MEAN, STD, cutout=6)(images_BCHW, train=True)
    holes_B = (x_BCHW == 0).all(1).sum((1, 2))
    assert int(holes_B.max()) == 36
    assert int(holes_B.min()) == 9  # a centre in the corner leaves 3 x 3


def test_offsets_mirrors_and_centres_are_uniform():
    images_BCHW = torch.zeros(20_000, 1, 6, 5, dtype=torch.uint8)
    augment = BatchAugment((0,), (1,), pad=2, flip=True, cutout=2)
    draw = augment.draw(images_BCHW, torch.Generator().manual_seed(0))
    corner = [(draw.top_B, 5), (draw.left_B, 5)]
    for drawn, stop in [*corner, (draw.flip_B, 2), (draw.row_B, 6), (draw.column_B, 5)]:
        shares = drawn.to(torch.int64).bincount(minlength=stop) / len(drawn)
        assert shares.tolist() == pytest.approx([1 / stop] * stop, abs=0.02)
    together = (draw.top_B * 5 + draw.left_B).bincount(minlength=25) / 20_000
    assert together.tolist() == pytest.approx([1 / 25] * 25, abs=0.01)


@pytest.mark.parametrize("train", [True, False])
def test_channels_last_is_a_layout_and_not_a_shape(train):
    x_BCHW = BatchAugment(MEAN, STD, pad=1, channels_last=True)(random_images(2, 4, 5), train)
    assert x_BCHW.shape == (2, 3, 4, 5)
    assert x_BCHW.is_contiguous(memory_format=torch.channels_last)


def test_the_result_has_the_type_of_the_module_and_checkpoints_hold_nothing():
    augment = BatchAugment(MEAN, STD).to(torch.float64)
    assert augment(random_images(1, 2, 2), train=True).dtype == torch.float64
    assert not augment.state_dict()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_applies_the_same_draws():
    images_BCHW = random_images(4, 8, 8)
    augment = BatchAugment(MEAN, STD, pad=2, flip=True, cutout=4)
    draw = augment.draw(images_BCHW)
    moved = Draw(*(part.cuda() for part in vars(draw).values()))
    x_BCHW = augment.cuda().apply_draw(images_BCHW.cuda(), moved).cpu()
    torch.testing.assert_close(x_BCHW, augment.cpu().apply_draw(images_BCHW, draw), rtol=0, atol=1e-6)
    assert augment.cuda()(images_BCHW.cuda(), train=True).is_cuda


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        ({"pad": -1}, r"dataset\.augment\.pad: .* not -1"),
        ({"cutout": 15}, r"dataset\.cutout: must be even .* not 15"),
        ({"std": (0.1, 0.0, 0.1)}, "std must be above 0"),
        ({"mean": (0.1,)}, "mean has 1 channels, but std has 3"),
    ],
)
def test_numbers_out_of_range_are_named(arguments, complaint):
    with pytest.raises(ConfigError, match=complaint):
        BatchAugment(**({"mean": MEAN, "std": STD} | arguments))


@pytest.mark.parametrize(
    "images", [torch.zeros(1, 3, 2, 2).double(), torch.zeros(1, 1, 2, 2, dtype=torch.uint8)]
)
def test_images_of_another_type_or_depth_are_refused(images):
    with pytest.raises(ConfigError, match=r"expected uint8 \(or float32\) images \[B, 3, H, W\]"):
        BatchAugment(MEAN, STD)(images, train=True)


@pytest.mark.parametrize("channels", [1, 3])
def test_parts_and_colours_are_drawn_for_each_image_and_off_by_default(channels):
    images_BCHW = random_images(1, 9, 7)[:, :channels].expand(6, -1, -1, -1).contiguous()
    mean = (0,) * channels, (1,) * channels

    def different(**settings):
        x_BCHW = BatchAugment(*mean, **settings)(images_BCHW, train=True)
        assert x_BCHW.shape == images_BCHW.shape and x_BCHW.min() >= 0 and x_BCHW.max() <= 1
        return len({x_CHW.numpy().tobytes() for x_CHW in x_BCHW}) > 1

    assert not different()
    assert different(crop=(0.2, 0.8)) and different(jitter=(0.4, 0.4, 0.4, 0.1))
    augment = BatchAugment(*mean, crop=(0.2, 0.8), jitter=(0.4, 0.4, 0.4, 0.1))
    assert torch.equal(augment(images_BCHW, train=False), BatchAugment(*mean)(images_BCHW, train=False))


def test_parts_are_scaled_to_the_whole_size():
    """A gradient from left to right: every part of it still rises, over fewer grey levels."""
    images_BCHW = (torch.arange(16) * 16).to(torch.uint8).expand(20, 1, 16, 16).contiguous()
    x_BCHW = BatchAugment((0,), (1,), crop=(0.1, 0.5))(images_BCHW, train=True)
    assert (x_BCHW.diff(dim=3) >= 0).all() and (x_BCHW[..., -1] > x_BCHW[..., 0]).all()
    assert (x_BCHW.amax((1, 2, 3)) - x_BCHW.amin((1, 2, 3)) < 0.9).all()


@pytest.mark.parametrize(
    ("channels", "settings", "words"),
    [
        (3, {"crop": (0.5, 1.5)}, "crop: must be null or the least"),
        (3, {"crop": (0.5,)}, "crop"),
        (3, {"jitter": (0.4, 0.4, 0.4)}, "jitter: must be null or four"),
        (2, {"jitter": (0.4, 0.4, 0.4, 0)}, "jitter: needs images of 1 or 3 channels, not 2"),
    ],
)
def test_numbers_of_parts_and_colours_out_of_range_are_refused(channels, settings, words):
    with pytest.raises(ConfigError, match=rf"dataset\.augment\.{words}"):
        BatchAugment((0.5,) * channels, (0.5,) * channels, **settings)
