"""Every script end to end, as a user calls it; every flagfile parsed; bad input in one line with exit code 2."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from jsep.data import tensorflow_datasets

ROOT = pathlib.Path(__file__).parent.parent
FLAGFILES = sorted((ROOT / "experiments" / "flags").glob("*.flags"))
DATA_DIR = pathlib.Path(os.environ.get("JSEP_TEST_DATA", ROOT.parent / "shared" / "data" / "tfds"))
# As in conftest.py: nearly all that a smoke run does is to compile.
ENVIRONMENT = {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
SMOKE = "--flagfile=experiments/flags/digits_sep_smoke.flags"


def command(script, *arguments):
    return [sys.executable, f"experiments/{script}.py", *arguments]


def call(script, *arguments):
    return subprocess.run(
        command(script, *arguments), cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=600, check=False
    )


def script_of(flagfile):
    return re.search(r"# Command: +python experiments/(\w+)\.py", flagfile.read_text()).group(1)


@pytest.mark.parametrize("flagfile", FLAGFILES, ids=lambda path: path.stem)
def test_flagfile_has_its_header_and_no_inline_comment(flagfile):
    text = flagfile.read_text()
    for word in ("# Question:", "# Command:", "# Device:", "# Expect:"):
        assert word in text, f"{flagfile.name} lacks the header line {word!r}"
    assert f"--flagfile=experiments/flags/{flagfile.name}" in text
    assert not [line for line in text.splitlines() if line.startswith("--") and " #" in line]


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("digits_sep", "StudyConfig"),
        ("cifar10_sep", "StudyConfig"),
        ("cifar100_sep", "StudyConfig"),
        ("fashion_mnist_sep", "StudyConfig"),
        ("imagenette_sep", "StudyConfig"),
        ("mnist_sep", "StudyConfig"),
        ("tiny_imagenet_sep", "StudyConfig"),
        ("trades_sep", "StudyConfig"),
        ("vit_sep", "StudyConfig"),
        ("baseline_sep", "StudyConfig"),
        ("objectives", "StudyConfig"),
        ("precision", "StudyConfig"),
        ("explain_methods", "GalleryConfig"),
        ("attack_strength", "StrengthConfig"),
        ("explanation_attacks", "AttackAblationConfig"),
        ("selection", "SelectionConfig"),
        ("cross_method", "CrossMethodConfig"),
        ("methods_table", "MethodsTableConfig"),
        ("evaluate", "EvaluationConfig"),
        ("landscape_models", "LandscapeConfig"),
        ("trades_landscape", "TradesLandscapeConfig"),
        ("sweep", "SweepConfig"),
        ("sep_weight_sweep", "WeightSweepConfig"),
        ("correlation", "CorrelationConfig"),
    ],
)
def test_flagfiles_of_a_script_parse(script, kind):
    """In one process a script: absl defines flags once."""
    files = [str(path) for path in FLAGFILES if script_of(path) == script]
    assert len(files) >= 2
    program = (
        f"import {script}, command_line\nfrom jsep import study\n"
        "from absl import flags\n"
        f"for path in {files!r}:\n"
        "    flags.FLAGS.unparse_flags()\n"
        "    flags.FLAGS(['x', '--flagfile=' + path])\n"
        f"    config = command_line.parsed_config(study.{kind})\n"
        "    assert config.experiment in path, (config.experiment, path)\n"
        "    print(config.as_flagfile())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "experiments")}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_digits_script_runs_end_to_end_resumes_and_repeats(tmp_path):
    run_dir = tmp_path / "run"
    done = call("digits_sep", SMOKE, f"--run_dir={run_dir}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == f"page: {run_dir / 'index.html'}"
    assert "sep_neg" in done.stdout
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
    "script", ["cifar10_sep", "cifar100_sep", "mnist_sep", "fashion_mnist_sep", "tiny_imagenet_sep"]
)
def test_script_of_a_data_set_runs_end_to_end(script, tmp_path):
    data_dir = DATA_DIR.parent if script == "tiny_imagenet_sep" else DATA_DIR
    done = call(
        script, f"--flagfile=experiments/flags/{script}_smoke.flags", f"--data_dir={data_dir}",
        f"--run_dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "index.html").exists()
    assert "| sep_pos" in done.stdout or "sep_pos  " in done.stdout


@pytest.mark.slow
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


@pytest.mark.slow
def test_trades_and_transformer_scripts_run_end_to_end(tmp_path):
    for script, method in (("trades_sep", "trades_sep_neg"), ("vit_sep", "sep_pos")):
        done = call(script, f"--flagfile=experiments/flags/{script}_smoke.flags", f"--run_dir={tmp_path / script}")
        assert done.returncode == 0, done.stderr
        assert method in done.stdout


@pytest.mark.slow
def test_study_that_continues_another_runs_end_to_end(tmp_path):
    assert call("digits_sep", SMOKE, "--methods=mat", f"--run_dir={tmp_path / 'models'}").returncode == 0
    flags = "--flagfile=experiments/flags/baseline_sep_smoke.flags"
    done = call("baseline_sep", flags, f"--start_from={tmp_path / 'models'}", f"--run_dir={tmp_path / 'run'}")
    assert done.returncode == 0, done.stderr
    config = json.loads((tmp_path / "run" / "result.json").read_text())["config"]
    assert config["start_from"] == str(tmp_path / "models")
    missing = call("baseline_sep", flags, "--start_from=nowhere", f"--run_dir={tmp_path / 'other'}")
    assert missing.returncode == 2
    assert "nowhere holds no study that can be read" in missing.stderr


@pytest.mark.slow
def test_explanation_gallery_runs_end_to_end(tmp_path):
    arguments = ["--flagfile=experiments/flags/explain_methods_smoke.flags", f"--run_dir={tmp_path / 'run'}"]
    done = call("explain_methods", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == f"figure: {tmp_path / 'run' / 'methods.png'}"
    assert [line.split(" | ")[0].strip("| ") for line in done.stdout.splitlines() if line.startswith("| ")] == [
        "method", "gradient_x_input", "smooth_grad", "attention_rollout"
    ]  # fmt: skip
    assert (tmp_path / "run" / "methods.png").stat().st_size > 5000
    again = call("explain_methods", *arguments)
    assert again.returncode == 2
    assert "holds a run" in again.stderr


@pytest.mark.slow
def test_attacks_on_the_models_of_a_study_run_end_to_end(tmp_path):
    study = ["--methods=mat", "--num_seeds=1", "--epochs=1", f"--run_dir={tmp_path / 'models'}"]
    done = call("digits_sep", SMOKE, *study)
    assert done.returncode == 0, done.stderr
    arguments = [
        "--flagfile=experiments/flags/attack_strength_smoke.flags", f"--models={tmp_path / 'models'}",
        f"--run_dir={tmp_path / 'run'}",
    ]  # fmt: skip
    done = call("attack_strength", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == f"result: {tmp_path / 'run' / 'result.json'}"
    assert "| mat_seed0 | ensemble after square | jsep |" in done.stdout
    missing = call("attack_strength", arguments[0], f"--models={tmp_path / 'none'}", f"--run_dir={tmp_path / 'x'}")
    assert missing.returncode == 2
    assert "holds no study that can be read" in missing.stderr


@pytest.mark.slow
def test_explanation_attacks_run_end_to_end_on_the_models_of_a_study(tmp_path):
    models_dir, run_dir = tmp_path / "models", tmp_path / "run"
    assert call("digits_sep", SMOKE, f"--run_dir={models_dir}").returncode == 0
    arguments = ["--flagfile=experiments/flags/explanation_attacks_smoke.flags", f"--models_dir={models_dir}"]
    done = call("explanation_attacks", *arguments, f"--run_dir={run_dir}")
    assert done.stdout.strip().splitlines()[-1] == f"result: {run_dir / 'result.json'}"
    assert "| mat_seed0 | random_search |" in done.stdout
    assert (run_dir / "tables.md").read_text() in done.stdout
    # Every chunk is stored: a repeated call attacks nothing again and prints the same losses.
    again = call("explanation_attacks", *arguments, f"--run_dir={run_dir}", "--resume")
    assert again.returncode == 0, again.stderr
    assert done.stdout.split("Members")[1] == again.stdout.split("Members")[1]


@pytest.mark.slow
def test_evaluation_of_trained_models_runs_end_to_end_and_goes_on_after_a_kill(tmp_path):
    models_dir, run_dir = tmp_path / "models", tmp_path / "run"
    trained = call("digits_sep", SMOKE, "--methods=mat,sep_neg", "--num_seeds=1", f"--run_dir={models_dir}")
    assert trained.returncode == 0, trained.stderr
    arguments = ["--flagfile=experiments/flags/evaluate_smoke.flags", f"--study_dirs={models_dir}"]
    process = subprocess.Popen(
        command("evaluate", *arguments, f"--run_dir={run_dir}"), cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while not list(run_dir.glob("chunks/model_0/accuracy/chunk_*.npz")):
        assert process.poll() is None, "ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    resumed = call("evaluate", *arguments, f"--run_dir={run_dir}", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    whole = call("evaluate", *arguments, f"--run_dir={tmp_path / 'whole'}")
    *table, last = resumed.stdout.strip().splitlines()
    assert table == whole.stdout.strip().splitlines()[:-1]
    assert last == f"page: {run_dir / 'index.html'}"
    assert "No model is degraded." in resumed.stdout
    refused = call("evaluate", *arguments, "--dataset=missing.npz", f"--run_dir={tmp_path / 'none'}")
    assert refused.returncode == 2
    assert "missing.npz: no such file" in refused.stderr.strip().splitlines()[-1]


@pytest.mark.slow
def test_landscape_of_trained_models_runs_end_to_end(tmp_path):
    trained = call("digits_sep", SMOKE, f"--run_dir={tmp_path / 'models'}", "--methods=mat")
    assert trained.returncode == 0, trained.stderr
    flagfile = "--flagfile=experiments/flags/landscape_smoke.flags"
    done = call("landscape_models", flagfile, f"--models={tmp_path / 'models'}", f"--run_dir={tmp_path / 'run'}")
    assert done.stdout.strip().splitlines()[-1] == f"page: {tmp_path / 'run' / 'index.html'}"
    assert (tmp_path / "run" / "slices_explanation_to_own.png").stat().st_size > 5000
    missing = call("landscape_models", flagfile, "--models=nowhere", f"--run_dir={tmp_path / 'other'}")
    assert "nowhere holds no study" in missing.stderr
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_trades_sweep_and_its_landscape_run_end_to_end(tmp_path):
    arguments = ["--flagfile=experiments/flags/trades_landscape_smoke.flags", f"--run_dir={tmp_path / 'run'}"]
    done = call("trades_landscape", *arguments)
    assert {line.split(" | ")[0].strip("| ") for line in done.stdout.splitlines()} >= {"trades 0", "trades 6"}
    assert (tmp_path / "run" / "trades_beta_6" / "index.html").exists()


@pytest.mark.slow
def test_recipes_run_one_after_the_other_and_only_whole_results_are_kept(tmp_path):
    small = {"methods": "mat", "epochs": 1}
    entries = [
        {"name": "models", "flagfile": "digits_sep_smoke", "flags": small, "result": False},
        {"name": "broken", "flagfile": "digits_sep_smoke", "flags": {"pairs_file": "nowhere.json"}},
        {"name": "lost", "flagfile": "cross_method_smoke", "flags": {"study_dirs": "{broken}"}},
        {"name": "cross", "flagfile": "cross_method_smoke", "flags": {"study_dirs": "{models}"}},
    ]
    (tmp_path / "table.json").write_text(json.dumps({"quick": entries}))
    arguments = [
        f"--recipes={tmp_path / 'table.json'}",
        f"--run_dir={tmp_path}",
        f"--results_dir={tmp_path / 'results'}",
    ]
    planned = call("paper", *arguments, "--dry_run").stdout.splitlines()
    assert planned[-1].startswith("4 recipes, ")
    assert f"--study_dirs={tmp_path / 'models'}" in planned[3]
    assert not (tmp_path / "models").exists()
    done = call("paper", *arguments)
    assert done.returncode == 1, done.stderr
    listed = done.stdout.split("2 of 4 recipes failed:")[1].splitlines()
    assert "nowhere.json" in listed[1]
    assert listed[2].startswith("  lost: needs broken")
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["cross"]
    assert (tmp_path / "results" / "cross" / "cross.png").exists()
    again = call("paper", *arguments, "--only=cross")
    assert again.returncode == 0, again.stderr
    assert "1 of 2: models, skipped: finished before\n2 of 2: cross, skipped: finished before" in again.stdout


@pytest.mark.slow
def test_table_of_methods_runs_end_to_end_and_resumes(tmp_path):
    arguments = ["--flagfile=experiments/flags/methods_table_smoke.flags", f"--run_dir={tmp_path / 'run'}"]
    done = call("methods_table", *arguments)
    assert done.stdout.strip().splitlines()[-1] == f"figure: {tmp_path / 'run' / 'cross.png'}", done.stderr
    assert "| explained by | mat | sep_pos (gradient) | sep_pos (guided_backprop) |" in done.stdout
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    # SEP less MAT for every explanation of the term and every one that is attacked.
    cells = {(e["trained_with"], e["explained_by"]) for e in result["comparisons"]}
    names = ("gradient", "guided_backprop")
    assert cells == {(trained, tested) for trained in names for tested in names}
    assert {each["sep_gradient"] for each in result["studies"]} == {"directional", "reverse"}
    assert call("methods_table", *arguments, "--resume").stdout == done.stdout
    plan = call("methods_table", *arguments, "--dry_run").stdout
    assert plan.count("of all 3 models on 6 pairs") == 2


@pytest.mark.slow
def test_sweep_skips_what_is_finished_and_lists_what_failed(tmp_path):
    spec = {
        "script": "digits_sep",
        "flagfile": SMOKE.removeprefix("--flagfile="),
        "flags": {"epochs": 1, "pairs_file": "{first}/pairs.json"},
        "first": {"name": "mat", "methods": "mat"},
        "runs": [
            {"name": "good", "methods": "standard"},
            {"name": "bad", "methods": "mat", "pairs_file": "nowhere.json"},
        ],
    }
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    arguments = [f"--spec={tmp_path / 'spec.json'}", f"--run_dir={tmp_path / 'sweep'}", "--num_workers=2"]
    planned = call("sweep", *arguments, f"--data_dir={tmp_path}", "--dry_run")
    assert planned.stdout.count(f"--data_dir={tmp_path}") == 3
    assert planned.stdout.strip().splitlines()[-1] == "3 runs, 0 of them finished; nothing was started"
    assert not (tmp_path / "sweep").exists()
    done = call("sweep", *arguments)
    assert done.returncode == 1, done.stderr
    assert "1 of 3 runs failed:" in done.stdout
    assert "nowhere.json" in done.stdout.split("bad: ")[1].splitlines()[0]
    assert f"log: {tmp_path / 'sweep' / 'logs' / 'bad.log'}" in done.stdout
    assert (tmp_path / "sweep" / "good" / "index.html").exists()
    again = call("sweep", *arguments)
    assert "2 of 3 done (2 before), 1 failed" in again.stderr
    assert again.returncode == 1
    # A flag that the script does not know, or a spec that has changed, is told before and instead of a run.
    (tmp_path / "spec.json").write_text(json.dumps(spec | {"flags": {"epoch": 1}}))
    assert "error: run mat: " in call("sweep", *arguments).stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "expected a run directory with a readable result.json, got 'nowhere'"),
        (["results/selection_digits"], "kind 'selection', which has no page"),
        (
            ["results/digits_sep", "results/cifar10_sep_quick"],
            "one data set, got digits in results/digits_sep, cifar10",
        ),
    ],
)
def test_report_of_bad_input_is_one_line_and_exit_code_2(arguments, message):
    done = call("report", *arguments)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.slow
def test_report_redraws_a_run_and_compares_several(tmp_path):
    for name in ("first", "second"):
        shutil.copytree(ROOT / "results" / "digits_sep", tmp_path / name)
    done = call("report", tmp_path / "first")
    assert done.stdout.strip() == f"page: {tmp_path / 'first' / 'index.html'}", done.stderr
    out = tmp_path / "both.html"
    done = call("report", tmp_path / "first", tmp_path / "second", f"--out={out}")
    assert done.stdout.strip() == f"page: {out}", done.stderr
    page = out.read_text()
    assert 'href="first/index.html"' in page
    assert "sep_neg, second" in page
    assert call("report", tmp_path / "first", "--out=x.html").returncode == 2


@pytest.mark.slow
def test_study_in_both_precisions_runs_end_to_end_and_resumes(tmp_path):
    arguments = ["--flagfile=experiments/flags/precision_smoke.flags", f"--run_dir={tmp_path / 'run'}"]
    done = call("precision", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == f"result: {tmp_path / 'run' / 'result.json'}"
    assert "| mat | robust acc. [%] |" in done.stdout
    first, second = (
        json.loads((tmp_path / "run" / precision / "result.json").read_text()) for precision in ("float32", "bfloat16")
    )
    assert first["pairs"]["hash"] == second["pairs"]["hash"]
    assert first["rows"][0]["explanation_loss_start"] != second["rows"][0]["explanation_loss_start"]
    again = call("precision", *arguments, "--resume")
    assert again.stdout == done.stdout


def test_help_lists_every_flag_of_the_script():
    done = call("digits_sep", "--help")
    for flag in ("--epochs", "--sep_weight_pos", "--[no]resume", "--run_dir", "--explanation_epsilon"):
        assert flag in done.stdout + done.stderr


def test_interrupt_leaves_a_run_that_resumes(tmp_path):
    run_dir = tmp_path / "run"
    arguments = [SMOKE, f"--run_dir={run_dir}", "--epochs=400"]
    process = subprocess.Popen(
        command("digits_sep", *arguments), cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )
    checkpoints = run_dir / "checkpoints" / "mat_seed0"
    deadline = time.monotonic() + 300
    while not list(checkpoints.glob("[0-9]*")):
        assert process.poll() is None, "ended before it could be interrupted"
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    last = errors.strip().splitlines()[-1]
    assert last.startswith("error: interrupted; continue with: python")
    assert last.endswith("--resume")
    assert "Traceback" not in errors
    assert list(checkpoints.glob("[0-9]*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset=cifar"], "unknown data set 'cifar'"),
        (["--model=resnet"], "expected one of convnet, resnet18"),
        (["--methods=mat,sep"], "unknown method 'sep'"),
        (["--epsilon=8"], "did you mean 8/255"),
        (["--epsilon=eight"], "expected a number or a fraction such as 8/255"),
        (["--epochs=0"], "epochs must be an integer >= 1"),
        (["--epoch=3"], "epochs"),
        (["--flagfile=nowhere.flags"], "nowhere.flags"),
        (["epochs=3"], "unexpected argument 'epochs=3'"),
        (["--dataset=mnist", "--data_dir=/nowhere"], "expected an existing TFDS directory, got '/nowhere'"),
        (["--dataset=missing.npz"], "no such file"),
        (["--resume", "--overwrite"], "exclude each other"),
        (["--num_processes=2"], "several processes need coordinator_address and num_processes > 1"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, tmp_path):
    done = call("digits_sep", SMOKE, f"--run_dir={tmp_path / 'run'}", *arguments)
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()
