"""Training and attack settings of each run, like the paper's table of hyper-parameters: one row for each run."""

from collections.abc import Mapping
from typing import Any

from jsep.record import explanation_name, num_pixels_of
from jsep.report.formatting import MISSING, format_weight
from jsep.report.table import Table, make_table, text_column

PAPER = {
    "data": "CIFAR-10",
    "epochs × batch": "25 × –",
    "SEP weights, of MSE": "+50000, −3000",
    "pairs (clusters)": "150 images",
}
"""The settings published in the paper; it does not report the others."""


def fraction(value: float) -> str:
    """A value in pixel units as usually written: 8/255 where it is a multiple of 1/255."""
    levels = value * 255
    return f"{levels:.0f}/255" if value and abs(levels - round(levels)) < 1e-6 and levels < 100 else f"{value:g}"


def _count(number: int) -> str:
    return str(number) if number else "all"


def _pgd(config: Mapping[str, Any]) -> str:
    steps = f"{config['num_steps']} × {fraction(config['alpha'])}"
    tests = f"{config['test_num_steps']} × {fraction(config['test_alpha'])}"
    budget = config.get("test_epsilon")
    inside = f" inside {fraction(budget)}" if budget is not None and budget != config["epsilon"] else ""
    return f"{config['norm']} {fraction(config['epsilon'])}: {steps}; tests {tests}{inside}"


def _optimizer(config: Mapping[str, Any]) -> str:
    decay = f", decay {config['weight_decay']:g}" if config["weight_decay"] else ""
    return f"{config['optimizer']} {config['learning_rate']:g} {config['schedule']}{decay}"


def _weights(config: Mapping[str, Any], unit: str, num_pixels: int | None) -> str:
    """Both SEP weights in "paper" (of MSE) or "scale_free" (of N^2 MSE) units."""
    if not any("sep" in method for method in config["methods"]):
        return ""
    own, scale = config.get("sep_weight_unit", "paper"), 1.0
    if own != unit:
        if num_pixels is None:
            return ""
        scale = num_pixels**2.0 if unit == "paper" else num_pixels**-2.0
    signs = [("pos", config["sep_weight_pos"]), ("neg", config["sep_weight_neg"])]
    shown = [weight for sign, weight in signs if any(f"sep_{sign}" in method for method in config["methods"])]
    return ", ".join(format_weight(scale * weight) for weight in shown)


def _attack(config: Mapping[str, Any]) -> str:
    if config.get("explanation_attack_kind", "targeted") != "targeted":
        return f"ensemble {config['explanation_version']}"
    budget = config["explanation_epsilon"]
    inside = f" inside {fraction(budget)}" if budget is not None else ", no budget"
    weights = f"weights {config['explanation_map_weight']:g} : {config['explanation_output_weight']:g}"
    return f"{config['explanation_num_steps']} × {config['explanation_learning_rate']:g}, {weights}{inside}"


def _cells(config: Mapping[str, Any], num_pixels: int | None) -> dict[str, str]:
    noise = f"{config['sep_noise']} {fraction(config['sep_noise_scale'])}"
    has_sep = any("sep" in method for method in config["methods"])
    return {
        "data": config["dataset"],
        "model": config["model"],
        "training images": _count(config["train_images"]),
        "test images": _count(config["test_images"]),
        "seeds": str(config["num_seeds"]),
        "epochs × batch": f"{config['epochs']} × {config['batch_size']}",
        "optimiser": _optimizer(config),
        "PGD, steps × size": _pgd(config),
        "SEP weights, of MSE": _weights(config, "paper", num_pixels),
        "SEP weights, of N²·MSE": _weights(config, "scale_free", num_pixels),
        "SEP noise": noise if has_sep else "",
        "explanation": ", ".join(map(explanation_name, config.get("explanations", [config["explanation_method"]]))),
        "attack on it, steps × size": _attack(config),
        "pairs (clusters)": f"{config['num_pairs']} ({config['num_clusters']})",
    }


def settings_table(results: Mapping[str, Mapping[str, Any]]) -> Table | None:
    """The settings of every result that trained models, below those that the paper reports; None where none did.

    Args: results: folder name -> content of its result.json.
    """
    found = {"the paper": PAPER}
    for name, result in results.items():
        config = result.get("config", {})
        if "epochs" in config and "train_images" in config and "sep_weight_pos" in config:
            found[name] = _cells(config, num_pixels_of(result.get("rows", ())))
    if len(found) == 1:
        return None
    titles = list(dict.fromkeys(title for cells in list(found.values())[1:] for title in cells))
    rows = [[name, *(cells.get(title, "") or MISSING for title in titles)] for name, cells in found.items()]
    note = "Pixel units in [0, 1]; everything else is in `flags.flags` of a run and in `config` of its result.json."
    return make_table(map(text_column, ["run", *titles]), rows, notes=(note,))
