"""What pyproject.toml cannot say: the recipes and the tools of the top level are parts of the installed package."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["fer_jax*"]), "fer_jax.configs", "fer_jax.tools"],
    package_dir={"fer_jax.configs": "configs", "fer_jax.tools": "tools"},
)
