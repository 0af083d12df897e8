"""What was found, from Python: kept in the run's folder, and told to those who listen."""

from PIL import Image

import nas
from tests.api.small import WORDS, Pictures


def searched(data, folder, **options):
    return nas.run_search(data, method="random", folder=folder, overrides=[*WORDS, "size=null"], **options)


def test_a_quiet_call_keeps_the_table_and_prints_nothing(tmp_path, capsys):
    for i in range(10):
        place = tmp_path / "pets" / ["cat", "dog"][i % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (20 * i, 0, 90)).save(place / f"{i}.png")
    (tmp_path / "pets/cat/0.png").write_bytes(b"x")
    data = nas.datasets.folder(tmp_path / "pets", image_size=8, skip_corrupt=True)
    found = searched(data, tmp_path / "quiet", verbose=False)
    text = (found.folder / "found.txt").read_text()
    assert capsys.readouterr().out == "" and "left out           1: cat/0.png: no image" in text
    searched((Pictures(), Pictures()), tmp_path / "told")
    text = (tmp_path / "told/found.txt").read_text()
    assert "training pictures  48, of a Python program" in text and text in capsys.readouterr().out
