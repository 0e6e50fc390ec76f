"""The same study with training steps in float32 and in bfloat16: which reported numbers move, and how far?

python experiments/precision.py --flagfile=experiments/flags/precision_digits.flags
"""

import pathlib

import command_line
from absl import flags

from jsep import report, study

command_line.define_flags(study.StudyConfig(experiment="precision"))


def main() -> None:
    """Runs both studies, prints the table and the path of the result."""
    config = command_line.parsed_config(study.StudyConfig)

    def body(run_dir: pathlib.Path, progress: command_line.TerminalProgress) -> str:
        settings = {"resume": flags.FLAGS.resume, "overwrite": flags.FLAGS.overwrite}
        result = study.run_precision(config, run_dir, on_progress=progress, **settings)
        return f"{report.format_table(result)}\nresult: {run_dir / 'result.json'}"

    command_line.run_in_directory(body, config.experiment)


if __name__ == "__main__":
    command_line.main(main)
