"""Maps with their uncertainty: the benchmark on maps that are made up."""

import json

import numpy as np
import pytest

from tests.helpers.processes import run_python


def test_trains_both_heads_and_writes_its_json(tmp_path):
    output = tmp_path / "maps.json"
    flags = ["--epochs=1", "--units=2", "--draws=2", "--most=4", "--batch_size=4"]
    paths = [f"--workdir={tmp_path / 'runs'}", f"--output={output}", "--verbose=0"]
    done = run_python("benchmarks/maps.py", *flags, *paths, check=True)
    rows = json.loads(output.read_text())["rows"]
    assert [(row["head"], row["draws"]) for row in rows] == [
        ("mc_dropout", 1),
        ("mc_dropout", 2),
        ("bayes", 1),
        ("bayes", 2),
    ]
    for row in rows:
        assert 0 <= row["mean_iou"] <= 1 and 0 <= row["ece"] <= 1
        assert 0 <= row["pavpu"] <= 1 and np.isfinite(row["ause"])
        # Of classes that nothing was learned of.
        assert row["nll"] == pytest.approx(np.log(11), abs=0.5)
    assert "bayes, ×2" in done.stdout
    assert (tmp_path / "maps_bayes.png").stat().st_size > 10_000


def test_maps_of_a_folder_are_read_in_their_order(tmp_path):
    image = pytest.importorskip("PIL.Image")
    from benchmarks import maps_data

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 12, (3, 6, 8)).astype("uint8")
    for folder in ("val", "valannot"):
        (tmp_path / folder).mkdir()
    for i in range(3):
        pixels = np.full((6, 8, 3), 40 * i, "uint8")
        image.fromarray(pixels).save(tmp_path / "val" / f"{i}.png")
        image.fromarray(labels[i]).save(tmp_path / "valannot" / f"{i}.png")
    found = maps_data.camvid(str(tmp_path), "val", most=2)
    np.testing.assert_array_equal(found.labels, labels[:2])
    np.testing.assert_allclose(found.images[1], 40 / 255)
    image.fromarray(labels[0][:, :4]).save(tmp_path / "valannot" / "0.png")
    with pytest.raises(ValueError, match=r"the size of its image.*valannot/0\.png"):
        maps_data.camvid(str(tmp_path), "val")
