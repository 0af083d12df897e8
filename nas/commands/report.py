"""`python -m nas.report`: a page of a run, a sweep or a protocol, and an index of a folder of runs.

Everything is read from the run folders. What kind of folder it is, its `summary.json` and `config.yaml` say,
never its name.
"""

from pathlib import Path

from omegaconf import DictConfig

from nas.analysis.statistics import LEVEL
from nas.analysis.sweep_comparison import TESTS
from nas.commands.report_group import GROUPS, write_group
from nas.commands.report_run import PAGE, write_run
from nas.errors import require
from nas.pages.folder import Folder
from nas.printable import shown
from nas.running.config import plain
from nas.running.own_files import check_page


def run(config: DictConfig, path: Path) -> None:
    """Writes the page as configured; see `conf/report.yaml`.

    Raises:
        ConfigError: there is no run in the folder, or a key has a value that cannot be used.
    """
    require(
        config.folder is not None,
        "folder=null: name a run folder, a multirun's, or one that holds run folders",
    )
    folder = Path(str(config.folder)).expanduser().absolute()
    require(folder.is_dir(), f"folder={config.folder}: there is no such folder")
    over = plain(config.over)
    output = folder / PAGE if config.output is None else Path(str(config.output)).expanduser().absolute()
    check_page(output, f"output={output}")
    if not is_run(folder):
        test, level = str(config.test), float(config.level)
        require(test in TESTS, f"test={shown(test)}: must be one of {', '.join(TESTS)}")
        require(0 < level < 1, f"level={level}: must be between 0 and 1, such as {LEVEL}")
        asked = (over, config.figure, config.baseline, test, level, config.runs)
        page, index = write_group(folder, output, *asked)
        print(f"page:  {page}\nindex: {index}", flush=True)
        return
    for key in ("baseline", "figure"):
        require(
            config[key] is None, f"{key}={config[key]}: {folder} is one run, which is compared with nothing"
        )
    require(not config.runs, f"runs=true: {folder} is one run; name the folder that it lies in")
    print(f"page: {write_run(folder, output)}", flush=True)


def is_run(folder: Path) -> bool:
    """Whether a folder is that of one run, and none that holds several."""
    if not any((folder / name).exists() for name in ("summary.json", "config.yaml")):
        return False
    own = Folder(folder)
    # Not by `summary()`, which knows the results of single runs.
    told = own.object("summary.json").get("command") or own.config().get("command")
    return told not in GROUPS
