"""Makes docs/rows.md of items.yaml and the headers of conf/experiment.

python -m experiments.rows           prints it
python -m experiments.rows --keep    writes it
"""

from argparse import ArgumentParser
from pathlib import Path

from experiments.rows.page import page
from nas.files import write_text

PAGE = Path(__file__).resolve().parents[2] / "docs" / "rows.md"


def main() -> None:
    """Prints the page, or writes it."""
    parser = ArgumentParser(prog="python -m experiments.rows", description=__doc__.splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="write docs/rows.md")
    if parser.parse_args().keep:
        write_text(PAGE, page())
    else:
        print(page(), end="")


if __name__ == "__main__":
    main()
