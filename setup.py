"""What pyproject.toml cannot say: conf/, at the top of the repository, is installed within the package.

Every folder is named, those that hold data alone too.
"""

import shutil
from pathlib import Path

from setuptools import find_namespace_packages, setup

# What an earlier build has left there would be packed again, modules that are gone among it.
shutil.rmtree(Path(__file__).parent / "build" / "lib", ignore_errors=True)

CODE = find_namespace_packages(include=["nas", "nas.*"], exclude=["*__pycache__*"])
CONF = ["nas.conf", *(f"nas.conf.{name}" for name in find_namespace_packages("conf"))]

setup(packages=[*CODE, *CONF], package_dir={"nas.conf": "conf"})
