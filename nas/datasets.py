"""Data of one's own, and those that are known by name, for `nas.run_search` and `nas.run_evaluation`.

Each function returns a `Data`, which says what it is where it is shown. Settings that a function has no
argument for are those of `conf/dataset/<name>.yaml` by their names (`split_ratio=0.8`); a name that this file
does not have is refused at once.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.api.data import Data, chosen, held, place

__all__ = ["Data", "arrays", "corpus", "csv", "folder", "given", "named"]


def folder(
    root: str | Path,
    *,
    image_size: int | None = None,
    channels: int | None = None,
    test_share: float | None = None,
    augment: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Data:
    """Pictures in `root/<class>/*`, or in `root/train/<class>/*` and `root/test/<class>/*`.

    Args:
        root: the folder.
        image_size: height and width in pixels of what networks read: the shorter side is scaled to it, and
            the centre cut out.
        channels: 3 for colour, 1 for grey; None for 1 where all pictures are grey.
        test_share: share of the pictures that is the test part, in (0, 1), where root has none.
        augment: what is done to training pictures: `pad` (pixels), `flip` (true or false), `crop` (least and
            greatest share of the area), `jitter` (brightness, contrast, saturation, hue).
        settings: any other key of `conf/dataset/folder.yaml`.

    Raises:
        ConfigError: there is no such folder, or no such setting.
    """
    own = {"image_size": image_size, "channels": channels, "test_share": test_share, "augment": augment}
    return chosen("folder", {"root": place(root, "root")} | own, settings)


def arrays(
    file: str | Path,
    *,
    fit: str | None = None,
    channels: str | None = None,
    test_share: float | None = None,
    augment: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Data:
    """Arrays in an .npz or .safetensors file: `images`, `labels` and, where there is a test part,
    `test_images`, `test_labels`; or an .npy file of the images beside `labels=<file>`.

    Args:
        file: the file; images are [N, C, H, W] or [N, H, W], uint8 or numbers from 0 to 255 or fractions.
        fit: what is done to sides that are no multiple of 4: `pad` (black around) or `resize`.
        channels: where they stand in `images`: `first` or `last`.
        test_share: share of the images that is the test part, in (0, 1), where the file has none.
        augment: as for `folder`.
        settings: any other key of `conf/dataset/arrays.yaml`.

    Raises:
        ConfigError: there is no such file, or no such setting.
    """
    own = {"fit": fit, "channels": channels, "test_share": test_share, "augment": augment}
    return chosen("arrays", {"file": place(file, "file")} | own, settings)


def csv(
    file: str | Path,
    *,
    root: str | Path | None = None,
    image_size: int | None = None,
    test_share: float | None = None,
    augment: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Data:
    """Pictures that a table lists: a column of paths, one of labels and, if there is one, of parts.

    Args:
        file: the table, with a header.
        root: folder that relative paths start from; None for that of the table.
        image_size: height and width of the images that come out, in pixels.
        test_share: share of the pictures that is the test part, in (0, 1), where no row is of one.
        augment: as for `folder`.
        settings: any other key of `conf/dataset/csv.yaml`.

    Raises:
        ConfigError: there is no such file or folder, or no such setting.
    """
    own = {"image_size": image_size, "test_share": test_share, "augment": augment}
    places = {"file": place(file, "file")} | ({} if root is None else {"root": place(root, "root")})
    return chosen("csv", places | own, settings)


def corpus(root: str | Path, *, tokenizer: str | None = None, **settings: Any) -> Data:
    """Text in `root/train.txt`, `valid.txt` and `test.txt`, UTF-8, of any length; for spaces of text.

    Args:
        root: the folder.
        tokenizer: what a token is: `words`, or `characters` (code points, line feeds and blanks among them;
            `<unk>` stands for those that `train.txt` lacks). None for `words`.
        settings: any other key of `conf/dataset/corpus.yaml`.

    Raises:
        ConfigError: there is no such folder, or no such setting.
    """
    return chosen("corpus", {"root": place(root, "root"), "tokenizer": tokenizer}, settings)


def named(name: str, **settings: Any) -> Data:
    """A data set that the framework knows: `digits`, `cifar10`, `cifar100`, `wikitext_mini`, ...

    Args:
        name: of a file below `conf/dataset`.
        settings: any of its keys; `root=` is where the data lie, `download=True` fetches them.

    Raises:
        ConfigError: there is no such data set, or no such setting.
    """
    return chosen(name, {}, settings)


def given(
    train: Any,
    test: Any,
    *,
    plain: Any = None,
    classes: Sequence[str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    name: str = "given",
    augment: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Data:
    """Pictures that this program holds: a pair of torch data sets, or of (pictures, labels).

    Both parts are `torch.utils.data.Dataset`s of (picture, label) with a length, or pairs (pictures
    [N, C, H, W] or [N, H, W], labels [N]) of tensors or arrays. A picture is uint8 (0 to 255), float (0 to 1,
    of which 255 steps are kept), or a PIL picture; all of them of one size, and networks see sides that are
    no multiple of 4 padded with black. Leave `Normalize` out of the transforms: mean and deviation are part
    of the network here, and of what it is exported to. A data set is asked for a picture each time that it is
    needed, so that transforms may be random.

    Args:
        train: the training part, which a search splits in two.
        test: the test part.
        plain: the training part without random changes, in the same order, for validation; None for `train`.
        classes: names in the order of the labels; None for `train.classes`, where it has such.
        mean: of each channel, on the scale where a pixel of 255 is 1; None for that of the training pictures.
        std: the same.
        name: what reports call the data set.
        augment: done to whole batches beside the program's transforms: as for `folder`.
        settings: `batch_size`, `split_ratio`, `fraction`, `cutout`, `class_weights`, `num_workers`, ...

    Raises:
        ConfigError: a part, picture or label is none of these; the message says which.
    """
    facts = {"mean": mean, "std": std, "classes": classes, "name": name}
    return held(train, test, plain, facts, {"augment": augment}, settings)
