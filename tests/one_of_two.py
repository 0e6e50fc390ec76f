"""One process of a run in two: python one_of_two.py PORT PROCESS_ID DIRECTORY. Trains, evaluates, writes it down."""

import json
import pathlib
import sys

import jax
import numpy as np

from jsep import attack, checks, data, devices, evaluate, models, train

MODEL = models.ResNet(num_classes=10, stage_sizes=(1,), width=4)
CONFIG = train.TrainConfig(
    objective="mat",
    epochs=2,
    batch_size=16,
    augment=True,
    optimizer=train.OptimizerConfig(learning_rate=0.02),
    attack=train.PgdConfig(epsilon=0.1, alpha=0.05, num_steps=2),
    sep_weight=30.0,
)
KEY_DATA = np.array([0, 3], np.uint32)


def small_digits() -> data.Dataset:
    return data.stratified_subset(data.load("digits", split="train"), 64)


def measure(mesh: jax.sharding.Mesh | None, directory: pathlib.Path, *, stream: bool | None = None) -> dict:
    """The losses of all steps, of a run that is killed in its second epoch and resumed; accuracies, an attack."""
    digits, key = small_digits(), jax.random.wrap_key_data(KEY_DATA)
    losses: list[float] = []
    settings = {"log_every": 1, "mesh": mesh, "stream": stream, "on_log": lambda record: losses.append(record["loss"])}
    described = train.describe(key, CONFIG, MODEL, digits)

    class Killed(Exception):
        pass

    def killed(record: dict) -> None:
        if record["step"] == 5:
            raise Killed
        losses.append(record["loss"])

    try:
        with train.Checkpoints(directory, described) as checkpoints:
            train.fit(key, MODEL, digits, CONFIG, checkpoints=checkpoints, **{**settings, "on_log": killed})
    except Killed:
        pass
    with train.Checkpoints(directory, described) as checkpoints:
        state = train.fit(key, MODEL, digits, CONFIG, checkpoints=checkpoints, **settings)
    model_fn = models.model_fn(MODEL)
    accuracies = evaluate.accuracies(key, model_fn, state.variables, digits, epsilon=0.1, alpha=0.05, num_steps=2)
    pairs = evaluate.PairIndex("digits", "train", 64, "none", 2, 0, (0, 1, 2, 3, 4), (5, 6, 7, 8, 9))
    config = evaluate.ExplanationAttackConfig(settings=attack.TargetedConfig(num_steps=3, learning_rate=0.01))
    attacked = evaluate.explanation_robustness(key, model_fn, state.variables, digits, pairs, config, chunk_size=4)
    return {"losses": losses, "accuracies": accuracies, **attacked.summary()}


def main() -> None:
    jax.config.update("jax_disable_most_optimizations", True)
    jax.config.update("jax_num_cpu_devices", 2)
    port, process_id, directory = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])
    devices.connect(f"127.0.0.1:{port}", 2, process_id)
    mesh = devices.make_mesh()
    assert mesh is not None
    # A directory of its own: what process 0 has written reaches the other by the wire alone.
    found = measure(mesh, directory / f"checkpoints{process_id}")
    found["num_devices"] = mesh.size
    found["wrote"] = (directory / f"checkpoints{process_id}").exists()

    def refuse() -> None:
        raise checks.InputError("only process 0 knows")

    try:
        devices.call_on_first_process(refuse)
    except checks.InputError as error:
        found["refused"] = str(error)
    found["streamed"] = measure(mesh, directory / f"streamed{process_id}", stream=True)
    (directory / f"found{process_id}.json").write_text(json.dumps(found, default=float))


if __name__ == "__main__":
    main()
