"""Maps, labels, numbers and pictures on the page, in headless Chromium.

Chromium asks `serve_page.py`, which hands on to a gate in this process, that answers
with SavedModels one after another, as `serve_page.py --saved_model` does.
"""

import base64
import http.server
import io
import json
import re
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfhyper
from tests.examples.test_page import page, settle, texts
from tests.helpers.browsers import FOLDER, modules_of_the_page, require_browser

PREPROCESSING = tfhyper.export.Preprocessing(0.3, 0.35)
NAMES = ("coat", "shoe", "bag")
PARTS = ("total", "aleatoric", "epistemic")
# Where bands, dots and the mean of the intervals stand.
PLACES = """(() => {
    const v = x => x.baseVal.valueInSpecifiedUnits;
    const all = s => Array.from(document.querySelectorAll('#intervals li ' + s));
    return [
        ...all('.band').flatMap(b => [v(b.x), v(b.x) + v(b.width)]),
        ...all('circle').map(c => v(c.cx)),
        ...all('line').map(l => v(l.x1)),
    ];
})()"""


def example(place):
    """Returns the bytes of one of the images to choose from."""
    entry = json.loads((FOLDER / "examples.json").read_text())[place]
    return np.frombuffer(base64.b64decode(entry["pixels"]), "uint8").reshape(28, 28)


IMAGES = np.stack([example(place) for place in range(4)])[..., None]


def network(kind):
    """Returns a network of images, whose draws differ."""
    keras.utils.set_random_seed(0)
    wide = keras.initializers.RandomNormal(stddev=0.8)
    inputs = keras.Input((28, 28, 1))
    x = tfhyper.layers.HyperConv2D(4, 5, strides=4, activation="relu", seed=1)(inputs)
    if kind == "maps":
        x = keras.layers.Conv2D(3, 1, kernel_initializer=wide)(x)
        return keras.Model(inputs, x)
    if kind == "pictures":
        x = keras.layers.UpSampling2D(2)(x)
        x = keras.layers.Conv2D(3, 3, padding="same", bias_initializer="zeros")(x)
        return keras.Model(inputs, x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    activation = "sigmoid" if kind == "labels" else None
    outputs = {"labels": 3, "sets": 3, "numbers": 2, "foreign": 3}.get(kind, 1)
    x = keras.layers.Dense(outputs, activation, kernel_initializer=wide)(x)
    return keras.Model(inputs, x)


def exported(kind, folder):
    """Returns the path of a SavedModel, with a rule that rejects some of the images."""
    options = {"outputs": "mean", "noise_variance": 0.01}
    options = options if kind.startswith(("number", "picture", "interval")) else {}
    predictor = tfhyper.PosteriorPredictor(network(kind), 5, **options)
    if kind in ("sets", "interval"):
        rng = np.random.default_rng(0)
        x = rng.uniform(-1, 1, (40, 28, 28, 1)).astype("float32")
        y = rng.integers(0, 3, 40) if kind == "sets" else rng.normal(size=40)
        predictor.fit_conformal(x, y, alpha=0.2)
    elif kind not in ("numbers", "pictures"):
        x = ((IMAGES / 255 - 0.3) / 0.35).astype("float32")
        score = "energy" if kind == "foreign" else "total"
        predictor.fit_rejection(x, coverage=0.6, score=score)
    names = {} if options else {"class_names": NAMES}
    path = str(folder / kind)
    tfhyper.export.saved_model(predictor, path, preprocessing=PREPROCESSING, **names)
    return path


class Views:
    """A browser, and a server whose model can be changed."""

    def __init__(self, folder):
        browser = require_browser()
        with modules_of_the_page():
            import local_model
        self._folder, self._local = folder, local_model
        self.browser, self.model = browser.Browser(), None
        views = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(handler):
                body = handler.rfile.read(int(handler.headers["Content-Length"] or 0))
                try:
                    found = views.model.answer(handler.command, handler.path, body)
                except local_model.Refused as error:
                    found = error.status, json.dumps({"error": str(error)}).encode()
                handler.send_response(found[0])
                handler.end_headers()
                handler.wfile.write(found[1])

            do_POST = do_GET

            def log_message(handler, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def show(self, kind, place=0):
        """Shows an image to a model, and returns what this says of it."""
        path = exported(kind, self._folder)
        self.model = self._local.LocalModel(path)
        self.browser.open(self.url)
        settle(self.browser)
        loaded = tf.saved_model.load(path)
        self.signatures = loaded.signatures, loaded
        return self.choose(place)

    def choose(self, place):
        self.browser.evaluate(
            f"document.querySelectorAll('#images input')[{place}].click()"
        )
        settle(self.browser)
        assert self.browser.evaluate("error.hidden"), texts(self.browser, "#message")
        found = {}
        for name in ("serving_default", "members"):
            found.update(self.signatures[0][name](inputs=tf.constant(IMAGES[[place]])))
        return {name: value.numpy()[0] for name, value in found.items()}

    def key(self, selector, key, code, times=1):
        """Presses a key on an element."""
        self.browser.evaluate(f"document.querySelector({selector!r}).focus()")
        for _ in range(times):
            for kind in ("keyDown", "keyUp"):
                self.browser.call(
                    "Input.dispatchKeyEvent",
                    type=kind,
                    windowsVirtualKeyCode=code,
                    key=key,
                    code=key,
                )

    def pixels(self):
        """Returns what is painted on the map, (height, width, 3)."""
        url = self.browser.evaluate("document.querySelector('#map-canvas').toDataURL()")
        png = base64.b64decode(url.split(",")[1])
        return np.array(Image.open(io.BytesIO(png)).convert("RGB"), int)

    def check_page(self):
        """Nothing is reported or overflows, and every control has a name."""
        assert self.browser.complaints == []
        for width, dark in ((320, True), (390, False), (1200, False)):
            self.browser.resize(width, 800, dark)
            found = self.browser.evaluate("document.documentElement.scrollWidth")
            assert found <= width
        unnamed = self.browser.evaluate(
            "Array.from(document.querySelectorAll('input, select'))"
            ".filter(i => !i.labels[0]?.textContent.trim()).length"
        )
        assert unnamed == 0


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    made = Views(tmp_path_factory.mktemp("views"))
    with page(f"--server_url={made.address}") as (url, _), made.browser:
        made.url = url
        yield made
    made.server.shutdown()
    made.server.server_close()


def test_maps_with_overlays_and_a_threshold_by_keys(views):
    found = views.show("maps")
    browser = views.browser
    grid, total = found["class"], found["total"]
    assert browser.evaluate("!map.hidden && bars.hidden && sweep.hidden")
    # The slider begins at the model's own rule: what it rejects is checked.
    threshold = float(browser.evaluate("cut.value"))
    unknown = total > threshold
    step = float(browser.evaluate("cut.step"))
    near = abs(total - threshold) < step
    assert (unknown == found["rejected"])[~near].all()
    browser.evaluate(
        "strength.value = 100; strength.dispatchEvent(new Event('input',"
        "{bubbles: true}))"
    )
    painted = views.pixels()
    colors = np.array([[0, 114, 178], [213, 94, 0], [0, 158, 115]])
    np.testing.assert_array_equal(painted[~unknown], colors[grid[~unknown]])
    odd = np.indices(grid.shape).sum(axis=0) % 2 == 1
    checks = np.where(odd, 0, 255)
    np.testing.assert_array_equal(painted[unknown], checks[unknown][:, None] + [0] * 3)
    shares = texts(browser, "#shares li")
    said = {name: np.mean((grid == i) & ~unknown) for i, name in enumerate(NAMES)}
    said["unknown"] = unknown.mean()
    expected = {f"{name} {100 * x:.1f} %" for name, x in said.items() if x}
    assert {text.strip() for text in shares} == expected
    for part in PARTS:
        (shown,) = texts(browser, f"#{part}")
        assert float(shown) == pytest.approx(found[part].mean(), abs=6e-4)

    # To the end by a key: nothing is unknown any more; and 10 steps back.
    views.key("#cut", "End", 35)
    assert texts(browser, "#cut-value") == ["none"]
    np.testing.assert_array_equal(views.pixels(), colors[grid])
    views.key("#cut", "ArrowLeft", 37, times=10)
    cut = float(browser.evaluate("cut.value"))
    assert cut == pytest.approx(np.log(3) * 0.9, rel=1e-3)
    is_checked = (views.pixels() != colors[grid]).any(axis=-1)
    np.testing.assert_array_equal(is_checked, total > cut)
    # An overlay of one part: brighter where it is more.
    views.key("[name=layer]:checked", "ArrowDown", 40, times=3)
    assert browser.evaluate("document.querySelector('[name=layer]:checked').value") == (
        "epistemic"
    )
    light = views.pixels().sum(axis=-1).ravel()
    order = np.argsort(found["epistemic"].ravel())
    assert (np.diff(light[order]) >= 0).all() and light.max() > light.min()
    # Strength 0 leaves the image.
    views.key("#strength", "Home", 36)
    places = (np.arange(len(grid)) * 28) // len(grid)
    image = IMAGES[0, places][:, places]
    np.testing.assert_array_equal(views.pixels(), np.repeat(image, 3, axis=-1))
    views.check_page()


def test_a_number_has_intervals_and_is_unknown_where_the_model_says(views):
    views.show("number")
    browser = views.browser
    assert browser.evaluate("!intervals.hidden && bars.hidden && map.hidden")
    assert browser.evaluate("document.querySelector('#promise').hidden")
    said = set()
    for place in range(4):
        found = views.choose(place)
        mean, std = float(found["mean"]), float(np.sqrt(found["variance"]))
        rejected = bool(found["rejected"])
        said.add(rejected)
        answer = f"{mean:.3g} ± {std:.3g}"
        (verdict,) = texts(browser, "#verdict")
        (reason,) = texts(browser, "#reason")
        if rejected:
            assert verdict == "unknown" and f"It would be {answer}." in reason
        else:
            assert verdict == answer and reason == ""
        (words,) = texts(browser, "#intervals li p")
        numbers = [float(x) for x in words.split("90 %: ")[1].split(" to ")]
        ends = [mean - 1.645 * std, mean + 1.645 * std]
        np.testing.assert_allclose(numbers, ends, rtol=6e-3, atol=1e-3)
        # Bands, dots and mean stand where their numbers are, along one line.
        drawn = browser.evaluate(PLACES)
        half = 0.67449 * std
        values = [*ends, mean - half, mean + half, *found["members"], mean]
        slope, start = np.polyfit(values, drawn, 1)
        np.testing.assert_allclose(drawn, start + slope * np.array(values), atol=0.1)
        (total,) = texts(browser, "#total")
        assert float(total) == pytest.approx(found["variance"], rel=6e-3)
    assert said == {True, False}
    assert browser.evaluate("!sweep.hidden")
    units = set(texts(browser, ".unit-of"))
    assert units == {"squared units"}
    views.check_page()


def test_a_picture_is_painted_with_its_uncertainty(views):
    found = views.show("pictures")
    browser = views.browser
    assert browser.evaluate("!map.hidden && intervals.hidden && sweep.hidden")
    picture = 255 * np.clip(found["mean"], 0, 1)
    assert len(picture) == 2 * 6 and np.ptp(picture) > 20
    np.testing.assert_allclose(views.pixels(), picture, atol=1)
    deviation = np.sqrt(found["variance"].mean(axis=-1))
    (verdict,) = texts(browser, "#verdict")
    assert verdict == f"12 × 12, ± {np.sqrt(found['variance'].mean()):.3g}"
    assert texts(browser, "#cut-value") == ["none"]
    # Half of the largest deviation: what is above it is checked.
    browser.evaluate(
        "cut.value = cut.max / 2; cut.dispatchEvent(new Event('input',"
        "{bubbles: true})); strength.value = 100;"
        "strength.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    unknown = deviation > float(browser.evaluate("cut.value"))
    assert unknown.any()
    odd = np.indices(unknown.shape).sum(axis=0) % 2 == 1
    expected = np.where(unknown[..., None], np.where(odd, 0, 255)[..., None], picture)
    np.testing.assert_allclose(views.pixels(), expected, atol=1)
    # An overlay of one part: brighter where it is more.
    views.key("[name=layer]:checked", "ArrowDown", 40, times=3)
    light = views.pixels().sum(axis=-1).ravel()
    order = np.argsort(found["epistemic"].mean(axis=-1).ravel())
    assert (np.diff(light[order]) >= 0).all() and light.max() > light.min()
    views.check_page()


def test_several_numbers_have_a_line_each(views):
    found = views.show("numbers", 1)
    lines = texts(views.browser, "#intervals li p")
    assert len(lines) == 2
    for i, line in enumerate(lines):
        assert line.startswith(f"class {i}: ") or line.startswith(f"target {i}: ")
        assert f"{found['mean'][i]:.3g}" in line
    views.check_page()


def test_labels_have_bars_and_some_are_unknown(views):
    views.show("labels")
    browser, told = views.browser, set()
    for place in range(3):
        found = views.choose(place)
        rejected = found["rejected"]
        told |= set(rejected.tolist())
        names = [
            f"{name} (unknown)" if out else name
            for name, out in zip(NAMES, rejected, strict=True)
        ]
        assert texts(browser, "#bars tbody th") == names
        widths = browser.evaluate(
            "Array.from(document.querySelectorAll('#bars tbody .bar'),"
            " b => b.width.baseVal.valueInSpecifiedUnits)"
        )
        np.testing.assert_allclose(widths, 100 * found["probabilities"], atol=1e-3)
        at = [n for n, x, out in zip(NAMES, found["label"], rejected) if x and not out]
        expected = "unknown" if rejected.all() else ", ".join(at) or "no label"
        assert texts(browser, "#verdict") == [expected]
        (reason,) = texts(browser, "#reason")
        assert reason.startswith("Unknown: ") == bool(rejected.any())
    assert told == {True, False}
    views.check_page()


def test_sets_and_intervals_say_what_they_promise(views):
    found = views.show("sets")
    held = [name for name, held in zip(NAMES, found["sets"], strict=True) if held]
    assert 0 < len(held)
    (said,) = texts(views.browser, "#promise")
    assert said == (
        f"Not to be ruled out: {', '.join(held)}. "
        "Such sets hold the right class for 80.0 % of images."
    )
    views.check_page()
    found = views.show("interval")
    (said,) = texts(views.browser, "#promise")
    ends = re.match(
        r"(\S+) to (\S+): such intervals hold the truth for 80.0 % of images.$", said
    )
    np.testing.assert_allclose(
        [float(x) for x in ends.groups()],
        [found["lower"].item(), found["upper"].item()],
        rtol=6e-3,
    )


def test_what_is_foreign_by_its_score_is_unknown(views):
    told = set()
    for place in range(4):
        found = views.choose(place) if told else views.show("foreign", place)
        (verdict,), (reason,) = (
            texts(views.browser, f"#{x}") for x in ("verdict", "reason")
        )
        told.add(bool(found["rejected"]))
        assert (verdict == "unknown") == found["rejected"]
        if found["rejected"]:
            score, threshold = re.match(
                r"Not like what it was trained on: a score of (-?[\d.]+) > threshold "
                r"(-?[\d.]+)\.",
                reason,
            ).groups()
            assert float(score) == pytest.approx(found["foreign"], abs=1e-3)
            assert float(score) >= float(threshold)
    assert told == {True, False}
    views.check_page()
