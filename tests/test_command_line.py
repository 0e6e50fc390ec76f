"""The command line: help by groups, what a mistyped flag may have meant, progress with the time left, the plan."""

import pathlib
import subprocess
import sys

import pytest
from absl import flags

from jsep import study
from jsep.cli import command_line, flag_errors, help_text, plan_text
from jsep.cli.program import HELP_PAGES
from jsep.cli.scripts import SCRIPTS

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture
def own_flags(monkeypatch: pytest.MonkeyPatch) -> flags.FlagValues:
    """The flags of a study, in a registry of their own."""
    values = flags.FlagValues()
    for name, default in {
        "epochs": 25,
        "num_seeds": 3,
        "sep_weight_pos": 5.0,
        "regulariser_weight": 1.0,
        "zzz": "a",
    }.items():
        flags.DEFINE_string(name, str(default), f"help of {name}", flag_values=values)
    flags.DEFINE_bool("resume", False, "continue", flag_values=values)
    monkeypatch.setattr(help_text.flags, "FLAGS", values)
    return values


def test_help_groups_the_flags_and_says_their_defaults(own_flags: flags.FlagValues) -> None:
    text = help_text.help_text()
    blocks = dict(block.split(":\n", 1) for block in text.split("\n\n"))
    assert "--[no]resume" in blocks["The run"]
    assert blocks["Training"].split() == ["--epochs", "help", "of", "epochs", "(default:", "25)"]
    assert "--sep_weight_pos" in blocks["SEP, the regulariser under test"]
    assert "--zzz" in blocks["This script"]


def test_help_of_a_script_is_shown_without_jax() -> None:
    program = (
        "import sys; sys.argv = ['jsep digits_sep', '--help']; from jsep import cli; cli.run('digits_sep');"
        "assert 'jax' not in sys.modules and 'absl' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "jsep digits_sep --flagfile=digits_sep" in done.stdout
    assert "--sep_weight_pos" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--epoch=3"], "error: unknown flag --epoch; did you mean --epochs?"),
        (["--rival_weight=1"], "error: unknown flag --rival_weight, now called --regulariser_weight"),
        (["--resume=maybe"], "error: flag --resume=maybe: expected true or false, got 'maybe'"),
        (["--run_dir"], "error: flag --run_dir: expected a value, got none"),
        (["--flagfile=none"], "error: flag --flagfile=none: No such file or directory"),
        (["epochs=3"], "error: unexpected argument 'epochs=3'; write flags as --name=value"),
        (["--flagfile=digits_sep", "--num_seed=1"], "error: unknown flag --num_seed; did you mean --num_seeds?"),
    ],
)
def test_a_mistyped_command_line_ends_before_jax(arguments: list[str], said: str) -> None:
    program = (
        f"import sys; sys.argv = ['jsep digits_sep', *{arguments}]; from jsep import cli\n"
        "try: cli.run('digits_sep')\n"
        "finally: assert 'jax' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(said)
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("page", sorted(HELP_PAGES.glob("*.txt")), ids=lambda page: page.stem)
def test_a_page_knows_the_flags_of_absl_and_of_its_example(page: pathlib.Path) -> None:
    example = SCRIPTS[page.stem].example.split()
    flag_errors.parse_by_page(
        page.read_text(), ["script", "--verbosity=-1", "--undefok=a", *example], takes_arguments=True
    )


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("epoch", "; did you mean --epochs?"),
        ("num-seeds", "; did you mean --num_seeds?"),
        ("rival_weight", ", now called --regulariser_weight"),
        ("lambda", "; did you mean --sep_weight_pos and --sep_weight_neg?"),
        ("lr", "; --help lists the flags"),  # --learning_rate is no flag here
        ("qqqq", "; --help lists the flags"),
    ],
)
def test_a_mistyped_flag_suggests_what_was_meant(own_flags: flags.FlagValues, typed: str, said: str) -> None:
    assert flag_errors.suggestion(typed, list(own_flags)) == said


def test_arguments_in_errors_of_the_library_are_shown_as_the_flags_of_the_script(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = flags.FlagValues()
    flags.DEFINE_bool("resume", False, "", flag_values=values)
    flags.DEFINE_string("engine", None, "", flag_values=values)
    monkeypatch.setattr(flags, "FLAGS", values)
    shown = command_line.in_flags("continue it with resume=True, or engine=processes; pass chunk_size=4 (--engine=ray)")
    assert shown == "continue it with --resume, or --engine=processes; pass chunk_size=4 (--engine=ray)"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("--epochs=three", "flag --epochs=three: expected a whole number such as 25, got 'three'"),
        ("--epochs=3.5", "flag --epochs=3.5: expected a whole number such as 25, got '3.5'"),
        ("--epochs", "flag --epochs: expected a value, got none; write --epochs=VALUE"),
        ("--resume=maybe", "flag --resume=maybe: expected true or false, got 'maybe'; write --resume or --noresume"),
        ("--rate=a/b", "flag --rate=a/b: expected a number or a fraction such as 8/255, got 'a/b'"),
        ("--flagfile", "flag --flagfile: expected a file, got none; write --flagfile=FILE"),
        (
            "--flagfile=none.flags",
            "flag --flagfile=none.flags: No such file or directory; `jsep recipes` lists the recipes",
        ),
    ],
)
def test_a_bad_value_says_what_was_expected(given: str, said: str) -> None:
    values = flags.FlagValues()
    flags.DEFINE_integer("epochs", 1, "", flag_values=values)
    flags.DEFINE_bool("resume", False, "", flag_values=values)
    flags.DEFINE(command_line.FractionParser(), "rate", 1.0, "", flag_values=values)
    with pytest.raises(flags.Error) as caught:
        values(["script", given])
    assert flag_errors.bad_value(str(caught.value)) == said


def test_every_meant_flag_is_a_flag_of_a_study_or_its_run() -> None:
    known = {*study.settings_of(study.StudyConfig), "run_dir", "resume", "overwrite"}
    for meant in flag_errors.MEANT.values():
        names = meant.replace("--", "").replace(" or ", " ").replace(" and ", " ").split()
        assert set(names) <= known, meant


def test_parts_of_a_run_are_counted_with_the_time_left(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    clock = iter([100.0, 110.0, 130.0])
    monkeypatch.setattr(command_line.time, "monotonic", lambda: next(clock))
    progress = command_line.TerminalProgress()
    for unit in range(3):
        progress(f"mat, seed {unit}", {"unit": unit, "num_units": 5, "of": "model"})
    lines = [line.partition(" ")[2] for line in capsys.readouterr().err.splitlines()]
    # 10 s a part, four are left; then 15 s a part, three are left.
    assert lines == [
        "model 1 of 5: mat, seed 0",
        "model 2 of 5, 00:40 left: mat, seed 1",
        "model 3 of 5, 00:45 left: mat, seed 2",
    ]


def test_a_bar_of_steps_shows_the_time_left(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr(command_line.time, "monotonic", iter([0.0, 10.0]).__next__)
    monkeypatch.setattr(command_line.sys.stderr, "isatty", lambda: True)
    progress = command_line.TerminalProgress()
    progress("attacking", {"step": 10, "num_steps": 100})
    progress("attacking", {"step": 20, "num_steps": 100})
    progress.close()
    assert "01:20 left" in capsys.readouterr().err


def test_where_no_terminal_redraws_a_bar_steps_are_a_line_a_minute(capsys: pytest.CaptureFixture[str], monkeypatch):
    monkeypatch.setattr(command_line.time, "monotonic", iter([100.0, 110.0, 165.0]).__next__)
    progress = command_line.TerminalProgress()
    for step in (10, 20, 75):
        progress("attacking", {"step": step, "num_steps": 100, "seconds_left": 60.0})
    lines = [line.partition(" ")[2] for line in capsys.readouterr().err.splitlines() if "step" in line]
    assert lines == ["attacking, step 10 of 100, 01:00 left", "attacking, step 75 of 100, 01:00 left"]


def test_durations_in_words() -> None:
    said = [plan_text.duration(seconds) for seconds in (0.2, 40, 700, 12_600)]
    assert said == ["about 1 s", "about 40 s", "about 12 min", "about 3.5 h"]


@pytest.mark.slow
def test_dry_run_prints_a_plan_of_the_right_size_and_writes_nothing(tmp_path: pathlib.Path) -> None:
    arguments = ["--flagfile=experiments/flags/digits_sep_smoke.flags", f"--run_dir={tmp_path / 'run'}"]
    command = [sys.executable, "experiments/digits_sep.py", *arguments]
    done = subprocess.run([*command, "--dry_run"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Plan of digits_sep")
    for word in ("train mat", "evaluate sep_neg", "Time: about", "Memory: ", "counted by the compiler"):
        assert word in done.stdout
    assert done.stdout.strip().splitlines()[-1].endswith(f"the results go to {tmp_path / 'run'}")
    assert not (tmp_path / "run").exists()
