"""The tfhyper package; `pyproject.toml` only configures tools."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
README = ROOT / "README.md"
# The server of `tfhyper serve`, which needs nothing of this package and stands by
# itself: the wheel carries its files as data.
SERVER = ROOT / "examples" / "serve"
SERVER_FILES = ("*.py", "settings.json", "models/*/*.json", "page/*")
# For who works on it: attacks, a client, and how the page is tested.
NOT_SERVED = {"attack.py", "client.py", "browser.py", "make_examples.py"}
NOT_SERVED |= {"screenshot.py", "README.md"}


def read_version() -> str:
    """Returns `__version__` without importing tfhyper, which would import Keras."""
    text = (ROOT / "tfhyper" / "version.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, flags=re.MULTILINE)
    if found is None:
        raise ValueError("`tfhyper/version.py` must define `__version__`.")
    return found.group(1)


class BuildWithServer(build_py):
    """Builds the package, with the server in `tfhyper/cli/server`."""

    def run(self) -> None:
        """Copies the modules, and then the server."""
        super().run()
        if self.editable_mode:  # there it is found where it is
            return
        for source, target in self._served():
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Returns the files that are built, the server's too."""
        outputs = super().get_outputs(include_bytecode)
        if self.editable_mode:
            return outputs
        return [*outputs, *(target for _, target in self._served())]

    def _served(self) -> list[tuple[Path, str]]:
        target = Path(self.build_lib) / "tfhyper" / "cli" / "server"
        return [
            (path, str(target / path.relative_to(SERVER)))
            for pattern in SERVER_FILES
            for path in sorted(SERVER.glob(pattern))
            if path.is_file() and path.name not in NOT_SERVED
        ]


# What writes and checks the files of other runtimes, see `tfhyper.export`.
RUNTIMES = {
    "litert": ["ai-edge-litert>=2.0"],
    "onnx": ["onnx>=1.16", "onnxruntime>=1.20", "tf2onnx>=1.16"],
    "openvino": ["nncf>=2.14", "openvino>=2024.5"],
}
EXPORT = sorted({package for needed in RUNTIMES.values() for package in needed})
# The server of examples/serve; its clients need less, see requirements.txt there.
SERVE = ['mlserver==1.7.*; python_version < "3.13"']
PLOTS = ["matplotlib>=3.8"]
TENSORBOARD = ["tensorboard>=2.18"]
# The other backends: install one, and set KERAS_BACKEND before the first import.
JAX = ["jax>=0.4.34"]
TORCH = ["torch>=2.5"]
# What examples/text.py and examples/forecast.py have their data from.
SEQUENCES = ["babel>=2.14", "vega_datasets>=0.9"]
# What examples/ and the commands that report on a training draw their pictures with.
EXAMPLES = [*PLOTS, *TENSORBOARD]
# What examples/ray_predict.py and examples/ray_train.py run on.
RAY = ["ray[data,train]>=2.40"]
DOCS = [
    *SEQUENCES,
    "jupytext>=1.16",
    "matplotlib>=3.8",
    'myst-nb>=1.2; python_version >= "3.11"',
    'pydata-sphinx-theme>=0.16; python_version >= "3.11"',
    'sphinx>=8.2,<10; python_version >= "3.11"',
    'sphinx-copybutton>=0.5.2; python_version >= "3.11"',
    'sphinx-design>=0.6; python_version >= "3.11"',
]
TEST = [
    *EXPORT,
    *SERVE,
    # `benchmarks/gpu_hour.py` and the other backend that users choose most.
    *JAX,
    *EXAMPLES,
    *RAY,
    *SEQUENCES,
    # What `.ci/package.py` and `.ci/run` build and check with.
    "build>=1.2",
    "check-wheel-contents>=0.6",
    "codespell>=2.3",
    "mapie>=1.0",
    "setuptools>=77",
    "twine>=6.1",
    "wheel>=0.43",
    "mypy>=1.15",
    "pydot>=3.0",
    "pytest>=8.3",
    "pytest-xdist>=3.6",
    "ruff>=0.9",
    # What PSNR, SSIM and luma are compared with.
    "scikit-image>=0.24",
]
# The models that `benchmarks/convert_models.py` converts; it brings tensorflow-text.
HUB = ["keras-hub>=0.30"]
ALL = sorted({*EXPORT, *SERVE, *EXAMPLES, *JAX, *TORCH})

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
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    packages=find_packages(include=["tfhyper", "tfhyper.*"]),
    package_data={
        "tfhyper": ["py.typed", "data/*.npz", "data/LICENSE*", "data/*LICENSE*"],
    },
    entry_points={"console_scripts": ["tfhyper = tfhyper.cli:main"]},
    cmdclass={"build_py": BuildWithServer},
    python_requires=">=3.10",
    # What each may be at least was run with: `.github/workflows/tests.yml`, "lowest".
    install_requires=[
        "absl-py>=2.1",
        "h5py>=3.11",
        # TensorFlow Datasets needs it and does not say so.
        "importlib_resources>=6.0",
        # The first releases whose loader checks every name, link and size in a file:
        # each step of a path in the HDF5 file, and what its entries unpack to (the last
        # of a series that began with CVE-2025-1550: functions of any module, by 3.9;
        # CVE-2025-8747 and -9906, -9905, -12058 and -12060, by 3.11 and 3.12;
        # CVE-2026-0897, -1462 and -1669, by 3.12.1 and 3.13.2). 3.12.4 has them for
        # Python 3.10, and 3.15.1 for later ones; what came out between has not.
        # `tfhyper.saving` looks into each file besides, whatever the release.
        "keras>=3.12.4,!=3.13.*,!=3.14.*,!=3.15.0",
        "numpy>=1.26",
        "scikit-learn>=1.6",
        "scipy>=1.12",
        "tensorflow>=2.18",
        "tensorflow-datasets>=4.9.7",
        "tensorflow-probability[tf]>=0.25",
    ],
    extras_require={
        **RUNTIMES,
        "all": ALL,
        "docs": DOCS,
        "examples": EXAMPLES,
        "export": EXPORT,
        "hub": HUB,
        "jax": JAX,
        "plots": PLOTS,
        "ray": RAY,
        "sequences": SEQUENCES,
        "serve": SERVE,
        "tensorboard": TENSORBOARD,
        "test": TEST,
        "torch": TORCH,
    },
)
