"""Asks a server for classes or pictures, and how sure it is of them.

python examples/serve/client.py --image=shirt.png
python examples/serve/client.py --examples=8 --grpc --url=127.0.0.1:8081
python examples/serve/client.py --seed=1    # fresh draws, if the model has them
python examples/serve/client.py --model=larger --image=small.png --output=large.png

Of a model whose answer is a picture, or a class for each pixel, --output gets the
picture, and a file beside it its uncertainty, brightest where it is largest.
"""

import json
import os
import sys
import urllib.error
import urllib.request

import numpy as np
from absl import app, flags

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "url",
    None,
    "The server: http://127.0.0.1:8080 by default, or with --grpc 127.0.0.1:8081.",
)
flags.DEFINE_bool("grpc", False, "Ask by gRPC instead of HTTP.")
flags.DEFINE_string("model", "fashion", "Name of the model.")
flags.DEFINE_string("image", None, "A file with an image, which is resized.")
flags.DEFINE_integer(
    "examples", 8, "Without --image: so many test images of tfhyper's own data.", 1
)
flags.DEFINE_string("output", None, "A PNG file for a picture that is answered.")
flags.DEFINE_integer("seed", None, "Ask for fresh draws with this seed.", 0)
flags.DEFINE_float("timeout", 30, "Seconds to wait for an answer.", 0)

OUTPUTS = ("class", "probabilities", "total", "aleatoric", "epistemic")
# Of a model that says what it does not know.
REJECTED = "rejected"
# Of a model that says which classes are not to be ruled out.
SETS = "sets"
FOREIGN = "foreign"


class HttpServer:
    """A server of the Open Inference Protocol, version 2."""

    def __init__(self, url: str):
        self._url = url.rstrip("/")

    def metadata(self, model: str) -> dict:
        """Returns what a model says of itself."""
        return self._ask(f"/v2/models/{model}")

    def infer(
        self, model: str, name: str, images: np.ndarray, wanted: list, parameters: dict
    ):
        """Returns outputs, by their names, for uint8 images: arrays by name."""
        tensor = {
            "name": name,
            "datatype": "UINT8",
            "shape": images.shape,
            "data": images.ravel().tolist(),
        }
        body = {
            "inputs": [tensor],
            "outputs": [{"name": output} for output in wanted],
            "parameters": parameters,
        }
        answer = self._ask(f"/v2/models/{model}/infer", body)
        return {
            output["name"]: np.reshape(output["data"], output["shape"])
            for output in answer["outputs"]
        }

    def _ask(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._url + path, data, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=FLAGS.timeout) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            raise ValueError(f"{self._url}{path}: {error.code}, {text}") from error
        except OSError as error:
            raise ValueError(f"{self._url} does not answer: {error}") from error


class GrpcServer:
    """The same by gRPC, with NVIDIA's client for the protocol."""

    def __init__(self, url: str):
        import tritonclient.grpc

        self._module = tritonclient.grpc
        self._client = tritonclient.grpc.InferenceServerClient(url)

    def metadata(self, model: str) -> dict:
        """Returns what a model says of itself; this client drops the class names."""
        return self._call(self._client.get_model_metadata, model, as_json=True)

    def infer(
        self, model: str, name: str, images: np.ndarray, wanted: list, parameters: dict
    ):
        """Returns outputs, by their names, for uint8 images: arrays by name."""
        tensor = self._module.InferInput(name, list(images.shape), "UINT8")
        tensor.set_data_from_numpy(images)
        outputs = [self._module.InferRequestedOutput(name) for name in wanted]
        answer = self._call(
            self._client.infer, model, [tensor], outputs=outputs, parameters=parameters
        )
        return {name: answer.as_numpy(name) for name in wanted}

    def _call(self, function, *arguments, **options):
        try:
            return function(*arguments, client_timeout=FLAGS.timeout, **options)
        except self._module.InferenceServerException as error:
            raise ValueError(f"{error.status()}: {error.message()}") from error


def read_image(path: str, shape: list) -> np.ndarray:
    """Returns an image file as uint8, in the size and colours of a model."""
    from PIL import Image

    height, width, channels = shape
    try:
        with Image.open(path) as image:
            image = image.convert("L" if channels == 1 else "RGB")
            image = np.asarray(image.resize((width, height)))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"--image must be an image file: {error}") from error
    return image.reshape(1, height, width, channels)


def test_images(count: int, shape: list) -> np.ndarray:
    """Returns test images of Fashion-MNIST as the bytes they were."""
    from tfhyper import data

    spec = data.DATASETS["fashion_mnist_small"]
    images = data.load_arrays("fashion_mnist_small")[1][0][:count]
    if list(images.shape[1:]) != shape:
        raise ValueError(
            f"The model takes images of {shape}, and tfhyper has others: give --image."
        )
    return np.rint((images * spec.std + spec.mean) * 255).astype("uint8")


def write_pictures(found: dict[str, np.ndarray], path: str) -> None:
    """Writes the first answer, a picture or a map of classes, and its uncertainty."""
    from PIL import Image

    if "mean" in found:
        picture, spread = found["mean"][0], np.sqrt(found["variance"][0].mean(-1))
        values = np.rint(255 * np.clip(picture, 0, 1)).astype("uint8")
        image = Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values)
    else:
        label, spread = found["class"][0], found["total"][0]
        hue = label * 255 // found["probabilities"].shape[-1]
        parts = [hue, np.full_like(hue, 200), np.full_like(hue, 200)]
        bands = [Image.fromarray(part.astype("uint8")) for part in parts]
        image = Image.merge("HSV", bands).convert("RGB")
    stem, end = os.path.splitext(path)
    most = spread.max() or 1.0
    certain = f"{stem}_uncertainty{end}"
    try:
        image.save(path)
        Image.fromarray(np.rint(255 * spread / most).astype("uint8")).save(certain)
    except (OSError, ValueError) as error:
        raise ValueError(f"--output must be an image file: {error}") from error
    unit = "" if "mean" in found else " nats"
    print(f"written: {path}")
    print(f"written: {certain}, white is {most:.3g}{unit}")


def outputs_of(metadata: dict) -> list[str]:
    """Returns the names of the outputs to ask for."""
    there = {output["name"] for output in metadata["outputs"]}
    if {"mean", "variance"} <= there:
        return ["mean", "variance"]
    more = [REJECTED, FOREIGN, SETS]
    if FLAGS.seed is not None:
        # Fresh draws have no sets, no scores, and no rejection by these.
        more = [] if FOREIGN in there else [REJECTED]
    return [*OUTPUTS, *(name for name in more if name in there)]


def ask() -> None:
    """Prints a line for each image, or writes the picture that is answered."""
    if FLAGS.grpc:
        server = GrpcServer(FLAGS.url or "127.0.0.1:8081")
    else:
        server = HttpServer(FLAGS.url or "http://127.0.0.1:8080")
    metadata = server.metadata(FLAGS.model)
    (entry,) = metadata["inputs"]
    shape = [int(size) for size in entry["shape"][1:]]
    if entry["datatype"] != "UINT8" or len(shape) != 3:
        raise ValueError(
            "This client has images of bytes: export the model with --bytes. "
            f"It takes {entry}"
        )
    if FLAGS.image:
        images = read_image(FLAGS.image, shape)
    else:
        images = test_images(FLAGS.examples, shape)
    parameters = {}
    if FLAGS.seed is not None:
        parameters = {"signature": "sample", "seed": FLAGS.seed}
    wanted = outputs_of(metadata)
    found = server.infer(FLAGS.model, entry["name"], images, wanted, parameters)
    if any(value.ndim > 2 for value in found.values()):
        if FLAGS.output is None:
            raise ValueError("The model answers with pictures: give --output.")
        write_pictures(found, FLAGS.output)
        return
    if "mean" in found:
        for mean, variance in zip(found["mean"], found["variance"], strict=True):
            std = np.sqrt(np.ravel(variance))
            pairs = zip(np.ravel(mean), std, strict=True)
            print("; ".join(f"{value:.4g} ± {spread:.3g}" for value, spread in pairs))
        return
    rejected = found.get(REJECTED, np.zeros(len(images), bool))

    names = metadata.get("parameters", {}).get("class_names")
    print(f"{'class':>20} {'probability':>12} {'total':>7} ", end="")
    print(f"{'aleatoric':>10} {'epistemic':>10}   ", end="")
    print(f"{'foreign':>10}   " if FOREIGN in found else "", end="")
    print("set of classes" if SETS in found else "(uncertainty in nats)")
    for i, label in enumerate(found["class"]):
        name = names[label] if names else str(label)
        if rejected[i]:
            name = f"unknown ({name}?)"
        print(
            f"{name:>20} "
            f"{found['probabilities'][i, label]:12.4f} {found['total'][i]:7.4f} "
            f"{found['aleatoric'][i]:10.4f} {found['epistemic'][i]:10.4f}",
            end="   ",
        )
        print(f"{found[FOREIGN][i]:10.4g}   " if FOREIGN in found else "", end="")
        if SETS not in found:
            print()
        else:
            held = [
                names[k] if names else str(k) for k in np.flatnonzero(found[SETS][i])
            ]
            print(", ".join(held) or "none")


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    try:
        ask()
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    app.run(main)
