"""The package as others install it: built from what is released, used from a folder that is no checkout."""

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import TINY
from tests.forks import finish

ROOT = Path(__file__).resolve().parent.parent
# A fork has this checkout's modules; what is installed is imported anew, from its own place.
STARTED = """
import runpy, sys
site, script, *sys.argv[1:] = sys.argv[1:]
for name in [one for one in sys.modules if one.split(".")[0] in ("nas", "tests")]:
    del sys.modules[name]
sys.path[:] = [site, *(one for one in sys.path[1:] if one != {root!r})]
sys.argv[0] = script
runpy.run_path(script, run_name="__main__")
"""


FROM_PYTHON = """
import json, sys, numpy, nas
pictures = numpy.arange(48 * 64).reshape(48, 8, 8) % 256
pair = pictures.astype(numpy.uint8), numpy.arange(48) % 3
parts = {"space": "nasbench201", "method": "random"}
found = nas.run_search((pair, pair), **parts, verbose=False, overrides=sys.argv[1:])
print(json.dumps([nas.__file__, found.status, str(found.folder)]))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Where a wheel lies that was built from a source distribution; nothing is fetched for it."""
    folder = tmp_path_factory.mktemp("installed")
    source, site = folder / "source", folder / "site"
    source.mkdir()
    for name in ("nas", "conf"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    call(source, "-c", "from setuptools import build_meta; build_meta.build_sdist('dist')")
    (made,) = (source / "dist").iterdir()
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--no-compile", "--target", site]
    call(folder, "-m", "pip", "--disable-pip-version-check", "install", *options, made)
    return site


def call(folder, *words):
    done = subprocess.run([sys.executable, *map(str, words)], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_installed_holds_every_file(site):
    for name, there in (("nas", site / "nas"), ("conf", site / "nas/conf")):
        files = [one for one in (ROOT / name).rglob("*") if one.is_file() and "__pycache__" not in one.parts]
        assert not [one for one in files if not (there / one.relative_to(ROOT / name)).exists()]
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert {one.name for one in (site / "bin").iterdir()} == set(scripts)
    commands = {one.stem for one in (ROOT / "conf").glob("*.yaml")}
    assert scripts == {"nas": "nas.__main__:main"} | {f"nas-{one}": f"nas.{one}:main" for one in commands}


def test_a_search_runs_in_a_folder_of_ones_own(site, tmp_path, monkeypatch):
    monkeypatch.delenv("NAS_OUTPUTS")
    script = site / "bin/nas-search"
    words = ["-c", STARTED.format(root=str(ROOT)), site, script, "space=nasbench201", "method=random"]
    done = finish([sys.executable, *words, *TINY[5:]], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "outputs/search/nasbench201/digits").iterdir()
    assert f"run folder: {folder}" in done.stdout
    summary = json.loads((folder / "summary.json").read_text())
    # It lies in nobody's repository, whatever folder it was installed in.
    assert (summary["status"], summary["git_commit"]) == ("finished", None)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["outputs"]


def test_python_searches_on_pictures_of_its_own(site, tmp_path, monkeypatch):
    monkeypatch.delenv("NAS_OUTPUTS")
    (tmp_path / "mine.py").write_text(FROM_PYTHON)
    words = ["-c", STARTED.format(root=str(ROOT)), site, tmp_path / "mine.py", *TINY[5:6]]
    done = finish([sys.executable, *words], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    file, status, folder = json.loads(done.stdout)
    assert (file, status) == (str(site / "nas/__init__.py"), "finished")
    assert folder.startswith(str(tmp_path / "outputs/search/nasbench201/given"))
