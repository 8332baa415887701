"""The tfhyper package; `pyproject.toml` only configures tools."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
README = ROOT / "README.md"


def read_version() -> str:
    """Returns `__version__` without importing tfhyper, which would import Keras."""
    text = (ROOT / "tfhyper" / "version.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, flags=re.MULTILINE)
    if found is None:
        raise ValueError("`tfhyper/version.py` must define `__version__`.")
    return found.group(1)


# What writes and checks the files of other runtimes, see `tfhyper.export`.
RUNTIMES = {
    "litert": ["ai-edge-litert"],
    "onnx": ["onnx", "onnxruntime", "tf2onnx"],
    "openvino": ["nncf", "openvino"],
}
EXPORT = sorted({package for needed in RUNTIMES.values() for package in needed})
# The server of examples/serve; its clients need less, see requirements.txt there.
SERVE = ['mlserver==1.7.*; python_version < "3.13"']

setup(
    name="tfhyper",
    version=read_version(),
    description=(
        "Bayesian neural networks for Keras 3: layers whose weights are drawn from "
        "a posterior, and a predictor that averages over the draws."
    ),
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    author="The tfhyper authors",
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords="bayesian deep learning keras tensorflow hypernetwork uncertainty",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    packages=find_packages(include=["tfhyper", "tfhyper.*"]),
    package_data={
        "tfhyper": ["py.typed", "data/*.npz", "data/LICENSE*", "data/*LICENSE*"],
    },
    python_requires=">=3.10",
    install_requires=[
        "absl-py",
        # TensorFlow Datasets needs it and does not say so.
        "importlib_resources",
        # The first releases whose loader checks every name, link and size in a file:
        # each step of a path in the HDF5 file, and what its entries unpack to (the last
        # of a series that began with CVE-2025-1550: functions of any module, by 3.9;
        # CVE-2025-8747 and -9906, -9905, -12058 and -12060, by 3.11 and 3.12;
        # CVE-2026-0897, -1462 and -1669, by 3.12.1 and 3.13.2). 3.12.4 has them for
        # Python 3.10, and 3.15.1 for later ones; what came out between has not.
        # `tfhyper.saving` looks into each file besides, whatever the release.
        "keras>=3.12.4,!=3.13.*,!=3.14.*,!=3.15.0",
        "scikit-learn",
        "scipy",
        "tensorflow",
        "tensorflow-datasets",
        "tensorflow-probability[tf]",
    ],
    extras_require={
        **RUNTIMES,
        "export": EXPORT,
        "plots": ["matplotlib"],
        "serve": SERVE,
        "tensorboard": ["tensorboard"],
        "test": [
            *EXPORT,
            *SERVE,
            # `benchmarks/gpu_hour.py` and the other backend that users choose most.
            "jax",
            "matplotlib",
            "mypy",
            "pydot",
            "pytest",
            "pytest-xdist",
            "ruff",
            "tensorboard",
        ],
    },
)
