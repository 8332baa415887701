"""Takes a picture of the page, which must be running, with headless Chromium.

python examples/serve/page/screenshot.py
python examples/serve/page/screenshot.py --width=390 --height=1780 --output=phone.png
"""

import pathlib
import sys

from absl import app, flags
from browser import Browser

FLAGS = flags.FLAGS
flags.DEFINE_string("url", "http://127.0.0.1:8000/", "Where the page is.")
flags.DEFINE_string(
    "output",
    str(pathlib.Path(__file__).parents[2] / "figures" / "page.png"),
    "File to write.",
)
flags.DEFINE_integer("width", 1200, "Width, pixels.", 200)
flags.DEFINE_integer("height", 800, "Height, pixels.", 200)
flags.DEFINE_bool("dark", False, "In dark colours.")
flags.DEFINE_integer("image", 0, "Place of the image among those to choose.", 0)
flags.DEFINE_enum("change", "rotate", ["rotate", "blur", "noise"], "What to change.")
flags.DEFINE_integer("step", 6, "Place of the slider.", 0)

DONE = "document.body.getAttribute('aria-busy') === 'false'"


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    with Browser(FLAGS.width, FLAGS.height) as browser:
        browser.resize(FLAGS.width, FLAGS.height, FLAGS.dark)
        browser.open(FLAGS.url)
        browser.wait(DONE)
        browser.evaluate(
            f"document.querySelectorAll('#images input')[{FLAGS.image}].click();"
            f"document.querySelector('[value={FLAGS.change}]').click();"
            f"slider.value = {FLAGS.step};"
            "slider.dispatchEvent(new Event('input'))"
        )
        browser.wait(DONE)
        said = browser.evaluate("error.hidden ? '' : message.textContent")
        if said or browser.complaints:
            sys.exit(f"error: {said} {browser.complaints}")
        pathlib.Path(FLAGS.output).write_bytes(browser.screenshot())
    print(f"written: {FLAGS.output}")


if __name__ == "__main__":
    app.run(main)
