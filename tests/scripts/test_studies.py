"""Scripts that train: every one end to end by its smoke flagfile."""

import json
import os
import pathlib
import re

import numpy as np
import pytest
from PIL import Image
from script_runs import ROOT, SMOKE, call, call_alone

from jsep.data import tensorflow_datasets

DATA_DIR = pathlib.Path(os.environ.get("JSEP_TEST_DATA", ROOT.parent / "shared" / "data" / "tfds"))


@pytest.mark.slow
def test_digits_script_runs_end_to_end_resumes_and_repeats(tmp_path):
    run_dir = tmp_path / "run"
    done = call_alone("digits_sep", SMOKE, f"--run_dir={run_dir}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == f"page: {run_dir / 'index.html'}"
    assert "SEP −, sharpened" in done.stdout
    again = call("digits_sep", SMOKE, f"--run_dir={run_dir}")
    assert again.returncode == 2
    assert again.stderr.strip().splitlines()[-1].startswith("error: run_dir")
    # The flagfile that the run wrote repeats it.
    repeated = call("digits_sep", f"--flagfile={run_dir / 'flags.flags'}", f"--run_dir={run_dir}", "--resume")
    assert repeated.returncode == 0, repeated.stderr
    assert repeated.stdout == done.stdout


@pytest.mark.slow
@pytest.mark.skipif(not DATA_DIR.is_dir(), reason="no local TFDS directory")
@pytest.mark.parametrize(
    "script",
    [
        "cifar10_sep",
        *(
            pytest.param(f"{name}_sep", marks=pytest.mark.long)
            for name in ("tiny_imagenet", "cifar100", "mnist", "fashion_mnist")
        ),
    ],
)
def test_script_of_a_data_set_runs_end_to_end(script, tmp_path):
    data_dir = DATA_DIR.parent if script == "tiny_imagenet_sep" else DATA_DIR
    done = call(
        script, f"--flagfile=experiments/flags/{script}_smoke.flags", f"--data_dir={data_dir}",
        f"--run_dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "index.html").exists()
    assert "\nSEP +, flattened " in done.stdout


@pytest.mark.long
def test_imagenette_script_runs_end_to_end_from_the_images_as_they_are_downloaded(tmp_path, monkeypatch):
    """1,030 images to train with, of which the last 1,000 validate, in the folders of two of the ten classes."""
    import tensorflow_datasets as tfds

    random = np.random.default_rng(0)
    for part, count in (("train", 515), ("val", 10)):
        for darkest, name in enumerate(("n01440764", "n02102040")):
            folder = tmp_path / "imagenette2-160" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                image = random.integers(120 * darkest, 120 * darkest + 136, (40, 50, 3), dtype=np.uint8)
                Image.fromarray(image).save(folder / f"{name}_{number}.JPEG")
    monkeypatch.setattr(tfds.download.DownloadManager, "download_and_extract", lambda self, urls: tmp_path)
    data_dir = tmp_path / "tfds"
    data_dir.mkdir()
    assert len(tensorflow_datasets.open_tfds("imagenette/160px-v2", str(data_dir), "train")) == 1030
    done = call(
        "imagenette_sep", "--flagfile=experiments/flags/imagenette_sep_smoke.flags", f"--data_dir={data_dir}",
        f"--run_dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "index.html").exists()
    assert json.loads((tmp_path / "run" / "result.json").read_text())["config"]["dataset"] == "imagenette"


@pytest.mark.long
def test_trades_and_transformer_scripts_run_end_to_end(tmp_path):
    for script, method in (("trades_sep", "trades_sep_neg"), ("vit_sep", "sep_pos")):
        done = call(script, f"--flagfile=experiments/flags/{script}_smoke.flags", f"--run_dir={tmp_path / script}")
        assert done.returncode == 0, done.stderr
        assert method in done.stdout


@pytest.mark.long
def test_study_that_continues_another_runs_end_to_end(mat_models, tmp_path):
    flags = "--flagfile=experiments/flags/baseline_sep_smoke.flags"
    done = call("baseline_sep", flags, f"--start_from={mat_models}", f"--run_dir={tmp_path / 'run'}")
    assert done.returncode == 0, done.stderr
    config = json.loads((tmp_path / "run" / "result.json").read_text())["config"]
    assert config["start_from"] == str(mat_models)
    missing = call("baseline_sep", flags, "--start_from=nowhere", f"--run_dir={tmp_path / 'other'}")
    assert missing.returncode == 2
    assert "nowhere holds no study that can be read" in missing.stderr


@pytest.mark.long
def test_table_of_methods_runs_end_to_end_and_resumes(tmp_path):
    arguments = ["--flagfile=experiments/flags/methods_table_smoke.flags", f"--run_dir={tmp_path / 'run'}"]
    done = call("methods_table", *arguments)
    assert done.stdout.strip().splitlines()[-1] == f"page: {tmp_path / 'run' / 'index.html'}", done.stderr
    assert re.search(r"explained by +mat +sep_pos \(gradient\) +sep_pos \(guided_backprop\)", done.stdout)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    # SEP beside MAT, on the same pairs, for every explanation of the term and every one that is attacked.
    cells = {(row["trained_with"], row["explained_by"]) for row in result["rows"] if row["baseline"] == "mat"}
    assert {row["pairs_hash"] for row in result["rows"]} == {result["pairs"]["hash"]}
    names = ("gradient", "guided_backprop")
    assert cells == {(trained, tested) for trained in names for tested in names}
    assert {each["sep_gradient"] for each in result["studies"]} == {"directional", "reverse"}
    assert call("methods_table", *arguments, "--resume").stdout == done.stdout
    plan = call("methods_table", *arguments, "--dry_run").stdout
    assert plan.count("of all 3 models on 6 pairs") == 2


@pytest.mark.long
def test_trades_sweep_and_its_landscape_run_end_to_end(tmp_path):
    arguments = ["--flagfile=experiments/flags/trades_landscape_smoke.flags", f"--run_dir={tmp_path / 'run'}"]
    done = call("trades_landscape", *arguments)
    assert {line.split("  ")[0] for line in done.stdout.splitlines()} >= {"trades 0", "trades 6"}
    assert (tmp_path / "run" / "trades_beta_6" / "index.html").exists()


@pytest.mark.long
def test_study_in_both_precisions_runs_end_to_end_and_resumes(tmp_path):
    arguments = ["--flagfile=experiments/flags/precision_smoke.flags", f"--run_dir={tmp_path / 'run'}"]
    done = call("precision", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == f"page: {tmp_path / 'run' / 'index.html'}"
    assert re.search(r"mat +robust acc\. \[%\]  ", done.stdout)
    first, second = (
        json.loads((tmp_path / "run" / precision / "result.json").read_text()) for precision in ("float32", "bfloat16")
    )
    assert first["pairs"]["hash"] == second["pairs"]["hash"]
    assert first["rows"][0]["explanation_loss_start"] != second["rows"][0]["explanation_loss_start"]
    again = call("precision", *arguments, "--resume")
    assert again.stdout == done.stdout
