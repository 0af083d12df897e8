"""What pyproject.toml cannot say: conf/, at the top of the repository, is installed within the package."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["nas", "nas.*"]), "nas.conf"], package_dir={"nas.conf": "conf"})
