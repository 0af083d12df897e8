"""CIFAR-10 and CIFAR-100, from torchvision's download or the official binary version put there by hand."""

from pathlib import Path

from nas.data import binary
from nas.data.sources import CachedImages, TensorImages
from nas.errors import require

FILES = {"cifar10": binary.CIFAR10, "cifar100": binary.CIFAR100}
# Per channel, to four decimals: as in the DARTS code for CIFAR-10, as commonly used for CIFAR-100.
MEAN = {"cifar10": (0.4914, 0.4822, 0.4465), "cifar100": (0.5071, 0.4867, 0.4408)}
STD = {"cifar10": (0.2470, 0.2435, 0.2616), "cifar100": (0.2675, 0.2565, 0.2761)}


class Cifar(CachedImages):
    """50,000 training and 10,000 test images [3, 32, 32] in 10 or 100 classes (Krizhevsky, 2009).

    Looked for in this order, `root` being the folder that holds the named one or that one itself: the
    binary version (`cifar-10-batches-bin`, `cifar-100-binary`), then torchvision's download
    (`cifar-10-batches-py`, `cifar-100-python`). If neither is there and `download` is true, torchvision
    downloads its own into `root`. With several processes, call `train` in one of them first. The classes of
    CIFAR-100 are the 100 fine ones.

    Every file's md5 is checked when it is read, save those of CIFAR-100's binary version: none is published
    for them, so their size, the range of their labels and the balance of their classes are checked.

    Args:
        name: `cifar10` or `cifar100`
        root: folder of the images; a relative one is relative to the current working directory
        download: whether to download what is not there
        files: the files of the binary version and their checksums; None for the official ones

    Raises:
        ConfigError: the name is neither of the two. From `train` and `test`: images are missing, damaged or
            cannot be downloaded.
    """

    image_shape = binary.IMAGE_SHAPE

    def __init__(
        self,
        name: str = "cifar10",
        root: str | Path = "data",
        download: bool = True,
        files: binary.BinaryFiles | None = None,
    ):
        super().__init__()
        require(name in FILES, f"dataset.name: must be one of {', '.join(FILES)}, not {name!r}")
        require(root is not None, "dataset.root: must name the folder that holds the images, not null")
        self.name = name
        self.files = files or FILES[name]
        self.num_classes = self.files.num_classes
        self.num_images = tuple(
            sum(file.num_images for file in part) for part in (self.files.train, self.files.test)
        )
        self.mean = MEAN[name]
        self.std = STD[name]
        self.root = Path(root)
        self.download = download

    def _read(self, train: bool) -> TensorImages:
        root = self.root.expanduser().resolve()
        folder = binary.find_folder(root, self.files)
        if folder is not None:
            return binary.read(folder, self.files, train)
        # torchvision takes seconds to import, and the binary version does without it.
        from torchvision import datasets

        from nas.data import download

        dataset = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[self.name]
        return download.load(dataset, root, train, self.download, other=self.files.folder)
