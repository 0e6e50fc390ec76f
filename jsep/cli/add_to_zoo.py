"""Adds a finished run's model to the models of the package: its weights, its card measured, the examples renewed.

python experiments/add_to_zoo.py --name=cifar10_convnet_mat --method=mat --model_seed=0 --protocol=cifar10_linf_v1 \\
    --classifier=results/definitive_cifar10/models/epsilon8_seed0 --data_dir=DIR
The card is measured in runs/cards/NAME; started again, the command goes on where it was stopped. Afterwards
`python experiments/render_results.py` brings the table of docs/zoo.md up to date.
"""

from pathlib import Path

from absl import flags

from jsep import study
from jsep.checks import InputError
from jsep.cli import command_line
from jsep.study import zoo


def _add() -> None:
    """Writes the weights, measures their card unless that is done, and chooses examples that the model knows."""
    config = command_line.parsed_config(study.CardConfig)
    name = flags.FLAGS.name
    if name is None or config.method is None or config.model_seed is None:
        raise InputError("give the name of the model in the zoo, and its method and model_seed in the run")
    zoo.put_weights(name, config.classifier, config.method, config.model_seed, data_dir=config.data_dir)
    of_zoo = config.replace(classifier=name, method=None, model_seed=None)

    def body(run_dir: Path, progress: command_line.TerminalProgress) -> str:
        overwrite = flags.FLAGS.overwrite
        result = study.run(of_zoo, run_dir, resume=not overwrite, overwrite=overwrite, on_progress=progress)
        zoo.put_measured(name, result)
        dataset = study.protocol(config.protocol).dataset
        indices = zoo.renew_examples(dataset, data_dir=config.data_dir)
        return f"{study.describe(of_zoo, result, run_dir)}\nexamples of {dataset}: test images {indices}"

    command_line.run_in_directory(body, f"cards/{name}")


def start() -> None:
    """Runs the program."""
    flags.DEFINE_string("name", None, "name of the model in the zoo: <dataset>_<network>_<training method>")
    command_line.define_study_flags(study.CardConfig.of(experiment="card"))
    command_line.main(_add, name="add_to_zoo")
