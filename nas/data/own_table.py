"""Pictures of one's own that a CSV file lists, wherever they lie."""

from pathlib import Path
from typing import Any

from nas.data.own_folder import OwnFolder
from nas.data.parts import Parts, drawn
from nas.data.table import TESTS, TRAIN, read_table
from nas.errors import ConfigError, require
from nas.printable import listed


class OwnTable(OwnFolder):
    """Pictures and classes as a CSV file lists them, read and divided as those of a folder.

    A row names a file, its label and, if there is such a column, its part: `train`, `test`, or else `val`,
    `valid` or `validation`, in small or capital letters. Where no row is of a test part one is drawn.

    Args:
        file: the CSV file, UTF-8 with a header, divided by commas, semicolons or tabs; a relative one is
            relative to the current working directory
        root: folder that relative paths start from; None for that of the file
        name: what the data set is called in reports
        file_column: header of the paths; None to find it by its usual names
        label_column: header of the labels; the same
        part_column: header of the parts; the same
        pictures: what else `OwnFolder` takes

    Attributes:
        classes: the different labels, sorted, as numbers where all are; their places are the labels.

    Raises:
        ConfigError: as for `OwnFolder`; from the attributes and methods as for `read_table`, or a class has
            no training image.
    """

    key = "dataset.file"

    def __init__(
        self,
        file: str | Path | None,
        root: str | Path | None = None,
        name: str = "csv",
        file_column: str | None = None,
        label_column: str | None = None,
        part_column: str | None = None,
        **pictures: Any,
    ):
        if file is None:
            raise ConfigError("dataset.file=null: name your CSV file, such as dataset.file=pets.csv")
        self.file = Path(file).expanduser()
        super().__init__(self.file.absolute().parent if root is None else root, name, **pictures)
        self._columns = {"file": file_column, "label": label_column, "part": part_column}

    def at_hand(self) -> bool:
        """Whether the table is there to be counted."""
        return self.file.is_file()

    def _place(self) -> Path:
        return self.file.absolute()

    def _divided(self) -> Parts:
        """The files of the training and of the test part, whether they can be decoded or not."""
        found = read_table(self.file, self.root.expanduser().resolve(), self._columns)
        train = found[None] if None in found else found[TRAIN]
        tests = [name for name in TESTS if name in found]
        present = set(train.labels.tolist())
        absent = [name for i, name in enumerate(train.classes) if i not in present]
        require(
            not absent,
            f"dataset.file={self.file}: no row of the part {TRAIN} has the label {listed(absent)}, but "
            "others have",
        )
        if not tests:
            return drawn(
                train, self.test_share, self.test_seed, f" of part {TRAIN}" if TRAIN in found else ""
            )
        return Parts(
            train,
            found[tests[0]],
            (f"part {TRAIN}", f"part {tests[0]}"),
            tuple(tests[1:]),
        )
