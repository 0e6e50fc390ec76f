"""The smallest study of two methods on digits, for the tests that train one or read it."""

import json

from jsep import study

CONFIG = study.StudyConfig.of(
    experiment="tiny",
    methods=("mat", "sep_neg"),
    num_seeds=1,
    train_images=64,
    validation_images=20,
    test_images=30,
    epochs=2,
    batch_size=32,
    optimizer="adamw",
    learning_rate=0.003,
    epsilon=0.1,
    alpha=0.05,
    num_steps=1,
    test_num_steps=1,
    sep_weight_neg=-300.0,
    sep_weight_pos=300.0,
    explanation_num_steps=2,
    num_clusters=3,
    num_pairs=5,
    feature_epochs=1,
    log_every=1,
    collapse_share=0.9,
)
TIMES = ("train_seconds", "evaluate_seconds")


def comparable(result):
    rows = [{key: value for key, value in row.items() if key not in TIMES} for row in result["rows"]]
    return {"rows": rows, "pairs": result["pairs"], "config": result["config"]}


def records(run_dir):
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    measured = lambda name: name == "images_per_second" or name.endswith("_mib")  # noqa: E731
    return [{k: v for k, v in json.loads(line).items() if not measured(k)} for line in lines]
