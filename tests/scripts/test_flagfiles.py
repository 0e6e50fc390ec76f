"""Every flagfile parses and has its header."""

import re

import pytest
from script_runs import ROOT, call_program

FLAGFILES = sorted((ROOT / "experiments" / "flags").glob("*.flags"))


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
    done = call_program(program)
    assert done.returncode == 0, done.stderr
