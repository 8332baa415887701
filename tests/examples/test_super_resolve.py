"""The example of enlarged pictures: trains, goes on, writes pictures and scores."""

import json
import pathlib

import numpy as np
import pytest

import tfhyper
from tests.helpers.processes import run_python
from tfhyper import data

Image = pytest.importorskip("PIL.Image")

ROOT = pathlib.Path(__file__).parents[2]
TINY = ["--epochs=1", "--draws=2", "--blocks=1", "--width=2", "--patch=8"]
TINY += ["--batch_size=4", "--tile=24"]


def super_resolve(*flags):
    return run_python(ROOT / "examples" / "super_resolve.py", *TINY, *flags)


def picture(path, *size):
    """Writes a smooth picture, and returns its path."""
    row, column = np.mgrid[: size[0], : size[1]]
    pixels = 128 + 60 * np.sin(row / 3) * np.cos(column / 4)
    pixels = np.stack([pixels, pixels / 2, 255 - pixels], -1).astype("uint8")
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)
    return str(path)


@pytest.fixture
def photos(tmp_path):
    picture(tmp_path / "photos" / "one.png", 40, 36)
    return str(tmp_path / "photos")


@pytest.mark.parametrize("method", ["hyper", "bayes", "mc_dropout", "deterministic"])
def test_each_method_enlarges_a_picture(method, photos, tmp_path):
    image = picture(tmp_path / "in" / "small.png", 30, 19)
    flags = [f"--method={method}", f"--data_dir={photos}", f"--image={image}"]
    done = super_resolve(*flags, f"--workdir={tmp_path / 'run'}", "--scale=3")
    assert done.returncode == 0, done.stderr
    found = data.read_picture(tmp_path / "run" / "enlarged.png")
    assert found.shape == (90, 57, 3)
    assert data.read_picture(tmp_path / "run" / "uncertainty.png").shape == found.shape
    beside = data.read_picture(tmp_path / "run" / "side_by_side.png")
    assert beside.shape == (90, 3 * 57, 3)
    usual = np.asarray(Image.open(image).resize((57, 90), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(beside[:, :57], usual)
    np.testing.assert_array_equal(beside[:, 57:114], found)
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["size"] == [90, 57] and scores["mean_deviation"] > 0
    assert "psnr" not in scores
    predictor = tfhyper.PosteriorPredictor.load(tmp_path / "run" / "predictor.tfhyper")
    small = data.read_picture(image)[None] / np.float32(255)
    whole = predictor.predict(small, verbose=0).mean[0]
    # The tiles of 24 pixels gave what the whole picture gives.
    rounded = np.rint(np.clip(whole, 0, 1) * 255)
    np.testing.assert_allclose(found, rounded, atol=1)


def test_a_run_goes_on_scores_and_refuses_other_flags(photos, tmp_path):
    image = picture(tmp_path / "in" / "large.png", 41, 36)
    flags = [f"--data_dir={photos}", f"--workdir={tmp_path / 'run'}", "--network=espcn"]
    flags += [f"--image={image}", "--reference", "--uncertainty=epistemic"]
    done = super_resolve(*flags)
    assert done.returncode == 0 and "PSNR" in done.stdout, done.stderr
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["size"] == [40, 36] and scores["bicubic_psnr"] > 25
    assert 0 < scores["ssim"] <= 1 and scores["uncertainty"] == "epistemic"
    again = super_resolve(*flags)
    assert again.returncode == 0 and "resuming after 1 of 1 epochs" in again.stdout
    other = super_resolve(*flags, "--scale=4")
    assert other.returncode == 1 and "scale" in other.stderr


def test_bad_flags_end_before_the_training(photos, tmp_path):
    for flags, message in (
        (["--scale=5"], "--scale must be one of (2, 3, 4, 8)"),
        (["--draws=0"], "--draws must be positive"),
        (["--tile=12"], "--tile must be above 12"),
        (["--image=nowhere.png"], "`path` must be a file"),
        ([f"--data_dir={tmp_path}"], "`images_dir` must hold pictures"),
    ):
        done = super_resolve(f"--workdir={tmp_path / 'run'}", *flags)
        assert done.returncode == 1 and message in done.stderr, done.stderr
    assert not (tmp_path / "run" / "model.keras").exists()
