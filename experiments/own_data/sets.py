"""Three data sets that are not ours, written as people have theirs: pictures, signals and text.

- Pictures: scikit-learn's handwritten digits (Alpaydin and Kaynak 1998, UCI), 1,797 PNG files of 8x8.
- Signals: BasicMotions of the UEA archive (Bagnall et al. 2018), which ships in the wheel of sktime (BSD
  3-clause): 80 recordings of a smart watch, 6 channels of 100 steps, four activities.
- Text: `wikitext_mini`, which ships with this project; its CREDITS.md has authors and licence.
"""

import shutil
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from nas.data.embedded import FOLDER as TEXTS

TEST_SHARE = 0.2


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Pictures uint8 [N, 8, 8] and their classes [N]."""
    found = load_digits()
    return (found.images * 15).astype("uint8"), found.target


def split_digits() -> tuple[np.ndarray, np.ndarray]:
    """Positions of the training and of the test pictures, a fifth of every class."""
    _, labels = digits()
    train, test = train_test_split(
        np.arange(len(labels)), test_size=TEST_SHARE, stratify=labels, random_state=0
    )
    return train, test


def motions(part: str) -> tuple[np.ndarray, np.ndarray]:
    """Signals float32 [40, 6, 100] of `train` or `test`, and their classes as words [40]."""
    from sktime.datasets import load_basic_motions

    signals, labels = load_basic_motions(split=part, return_type="numpy3D")
    return signals.astype("float32"), np.asarray(labels)


def write_pictures(place: Path) -> Path:
    """Writes `pictures/{train,test}/<class>/*.png`."""
    images, labels = digits()
    for part, positions in zip(("train", "test"), split_digits(), strict=True):
        for position in positions:
            folder = place / "pictures" / part / f"digit {labels[position]}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(images[position]).save(folder / f"{position}.png")
    return place / "pictures"


def write_signals(place: Path) -> Path:
    """Writes `motions.npz`, and the test signals alone as `later.npz`."""
    (images, labels), (test, test_labels) = motions("train"), motions("test")
    np.savez(place / "motions.npz", images=images, labels=labels, test_images=test, test_labels=test_labels)
    np.savez(place / "later.npz", images=test, labels=test_labels)
    return place / "motions.npz"


def write_text(place: Path) -> Path:
    """Writes `text/{train,valid,test}.txt`."""
    (place / "text").mkdir()
    for name in ("train", "valid", "test"):
        shutil.copyfile(TEXTS / f"{name}.txt", place / "text" / f"{name}.txt")
    return place / "text"
