"""Exports a trained predictor: a SavedModel, or a file for another runtime.

python examples/export_model.py --workdir=runs/train --output=models/fashion/1
python examples/export_model.py --workdir=runs/train --form=materialized --overwrite
python examples/export_model.py --workdir=runs/train --format=onnx --weights=float16

A SavedModel is for TensorFlow, TensorFlow Serving and C++. The other formats say what
their file scores on the test images, beside the predictor. What the predictor calls
unknown, by --coverage of the training or of examples/evaluate.py, the file rejects.

The same is `tfhyper export`, where the package is installed: the code is in
tfhyper/cli/export.py.
"""

from tfhyper.cli import flag_sets
from tfhyper.cli.export import main
from tfhyper.cli.scripting import run

flag_sets.define_export()

if __name__ == "__main__":
    run(main)
