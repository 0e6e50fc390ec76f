"""Every explanation method on the same images: their maps, and whether they notice randomised weights.

python experiments/explain_methods.py --flagfile=experiments/flags/explain_methods_quick.flags --data_dir=DIR
"""

import pathlib

import command_line
from absl import flags

from jsep import report, study

command_line.define_flags(study.GalleryConfig(experiment="explain_methods"), resumable=False)


def main() -> None:
    """Runs the gallery that the flags describe, prints its table and the path of its figure."""
    config = command_line.parsed_config(study.GalleryConfig)

    def body(run_dir: pathlib.Path, progress: command_line.TerminalProgress) -> str:
        result = study.run_gallery(config, run_dir, overwrite=flags.FLAGS.overwrite, on_progress=progress)
        return f"{report.format_table(result)}\nfigure: {run_dir / 'methods.png'}"

    command_line.run_in_directory(body, config.experiment)


if __name__ == "__main__":
    command_line.main(main)
