"""What pyproject.toml cannot say: the recipes of the top level are part of the installed package."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["fer_jax*"]), "fer_jax.configs"], package_dir={"fer_jax.configs": "configs"})
