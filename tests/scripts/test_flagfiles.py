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


@pytest.mark.parametrize("script", sorted({script_of(path) for path in FLAGFILES}))
def test_flagfiles_of_a_script_parse(script):
    """In one process a script: absl defines flags once."""
    files = [str(path) for path in FLAGFILES if script_of(path) == script]
    assert len(files) >= 2
    define = "define_flags" if script == "sweep" else "define_study_flags"
    made = "study.SweepConfig.of(experiment='sweep')" if script == "sweep" else f"cli.defaults_of({script!r})"
    program = (
        "from absl import flags\nfrom jsep import cli, study\nfrom jsep.cli import command_line\n"
        f"defaults = {made}\n"
        f"command_line.{define}(defaults)\n"
        f"for path in {files!r}:\n"
        "    flags.FLAGS.unparse_flags()\n"
        "    flags.FLAGS(['x', '--flagfile=' + path])\n"
        "    config = command_line.parsed_config(type(defaults))\n"
        "    assert config.experiment in path, (config.experiment, path)\n"
        "    print(config.as_flagfile())\n"
    )
    done = call_program(program)
    assert done.returncode == 0, done.stderr
