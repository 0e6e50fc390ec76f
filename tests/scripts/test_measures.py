"""Scripts that measure trained models, or draw what was measured, end to end by their smoke flagfiles."""

import re
import shutil
import subprocess
import time

import pytest
from script_runs import ENVIRONMENT, ROOT, SMOKE, call, command


@pytest.mark.slow
def test_explanation_gallery_runs_end_to_end(tmp_path):
    arguments = ["--flagfile=experiments/flags/explain_methods_smoke.flags", f"--run_dir={tmp_path / 'run'}"]
    done = call("explain_methods", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == f"page: {tmp_path / 'run' / 'index.html'}"
    methods = [line.split("  ")[0] for line in done.stdout.splitlines() if "  convnet" in line or "  vit" in line]
    assert list(dict.fromkeys(methods)) == ["Gradient x Input", "SmoothGrad", "Attention rollout"]
    assert (tmp_path / "run" / "methods.png").stat().st_size > 5000
    again = call("explain_methods", *arguments)
    assert again.returncode == 2
    assert "holds a run" in again.stderr


@pytest.mark.slow
def test_attacks_on_the_models_of_a_study_run_end_to_end(mat_models, tmp_path):
    arguments = [
        "--flagfile=experiments/flags/attack_strength_smoke.flags", f"--models={mat_models}",
        f"--run_dir={tmp_path / 'run'}",
    ]  # fmt: skip
    done = call("attack_strength", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == f"page: {tmp_path / 'run' / 'index.html'}"
    assert re.search(r"\nMAT, seed 0 +\d", done.stdout), done.stdout
    missing = call("attack_strength", arguments[0], f"--models={tmp_path / 'none'}", f"--run_dir={tmp_path / 'x'}")
    assert missing.returncode == 2
    assert "holds no study that can be read" in missing.stderr


@pytest.mark.slow
def test_explanation_attacks_run_end_to_end_on_the_models_of_a_study(mat_models, tmp_path):
    run_dir = tmp_path / "run"
    arguments = ["--flagfile=experiments/flags/explanation_attacks_smoke.flags", f"--models_dir={mat_models}"]
    done = call("explanation_attacks", *arguments, f"--run_dir={run_dir}")
    assert done.stdout.strip().splitlines()[-1] == f"page: {run_dir / 'index.html'}"
    assert re.search(r"\nMAT, seed 0 +auto ", done.stdout), done.stdout
    assert (run_dir / "index.html").exists()
    # Every chunk is stored: a repeated call attacks nothing again and prints the same losses.
    again = call("explanation_attacks", *arguments, f"--run_dir={run_dir}", "--resume")
    assert again.returncode == 0, again.stderr
    assert done.stdout == again.stdout


@pytest.mark.long
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
    *table, _, last = resumed.stdout.strip().splitlines()  # the last two lines name the run directory
    assert table == whole.stdout.strip().splitlines()[:-2]
    assert last == f"page: {run_dir / 'index.html'}"
    assert "No model is degraded." in resumed.stdout
    refused = call("evaluate", *arguments, "--dataset=missing.npz", f"--run_dir={tmp_path / 'none'}")
    assert refused.returncode == 2
    assert "missing.npz: no such file" in refused.stderr.strip().splitlines()[-1]


@pytest.mark.slow
def test_landscape_of_trained_models_runs_end_to_end(mat_models, tmp_path):
    flagfile = "--flagfile=experiments/flags/landscape_smoke.flags"
    done = call("landscape_models", flagfile, f"--models={mat_models}", f"--run_dir={tmp_path / 'run'}")
    assert done.stdout.strip().splitlines()[-1] == f"page: {tmp_path / 'run' / 'index.html'}"
    assert (tmp_path / "run" / "slices_explanation_to_own.png").stat().st_size > 5000
    missing = call("landscape_models", flagfile, "--models=nowhere", f"--run_dir={tmp_path / 'other'}")
    assert "nowhere holds no study" in missing.stderr
    assert not (tmp_path / "other").exists()


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
    assert "SEP −, sharpened, second" in page
    assert call("report", tmp_path / "first", "--out=x.html").returncode == 2
