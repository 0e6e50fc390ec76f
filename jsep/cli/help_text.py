"""Help on the flags of a script: --help in groups, and suggestions for mistyped flags."""

import difflib
import re
import textwrap

from absl import flags

from jsep import study

_WIDTH = 100
"""Characters a line."""

GROUPS = (
    ("Data", r"dataset|data_dir|stream|(train|validation|test)_images|augment|out"),
    ("Model", r"model|activation|softplus_beta|normalise_input"),
    ("What is trained, or analysed", r"methods|seed|num_seeds|max_seeds|models|models_dir|study_dirs?"),
    ("The run", r"run_dir|resume|overwrite|dry_run|compilation_cache|experiment|.*chunk_size|.*_every"),
    ("SEP, the regulariser under test", r"sep_.*"),
    ("Other papers' regularisers", r"regulariser_.*"),
    ("Attack on predictions", r"norm|epsilon|alpha|num_steps|attack_batch_norm|test_.*|trades_.*|pgd_.*|.*_attacks"),
    ("Training", r"objective_options|epochs|batch_size|optimizer|learning_rate|schedule|momentum|weight_decay"
     r"|gradient_clip|ema_decay|precision|start_.*"),
    ("What is watched in training, and evaluated after it", r"validation_attack|probe_images|.*collapse.*|evaluated_.*"
     r"|noise_radius|auto_attack.*|properties.*"),
    ("From saliency to map", r"map_.*"),
    ("Attack on explanations", r"explanation_.*|version"),
    ("Pairs of images", r"(num|max|gallery)_pairs|pairs_file|num_clusters|cluster_counts|feature_.*|selections?"
     r"|num_draws"),
    ("Landscape", r"landscape_.*|scalars|directions|num_directions|extent|.*_points|out_of_range|plane_.*"
     r"|.*_?eigenvalues|num_matvecs|.*_probes|sharpness_.*|num_bootstrap"),
)  # fmt: skip
"""(title, pattern of the names); a flag is in the first group that matches, else in "This script"."""

MEANT = {
    "attack": "explanation_attack_kind",
    "batch": "batch_size",
    "beta": "softplus_beta or --trades_beta",
    "bs": "batch_size",
    "budget": "epsilon",
    "checkpoint": "resume",
    "dir": "run_dir",
    "eps": "epsilon",
    "explanation": "explanation_method",
    "force": "overwrite",
    "lambda": "sep_weight_pos and --sep_weight_neg",
    "logdir": "run_dir",
    "lr": "learning_rate",
    "noise": "sep_noise_scale",
    "out": "run_dir",
    "output_dir": "run_dir",
    "pairs": "num_pairs",
    "seeds": "num_seeds",
    "sigma": "sep_noise_scale",
    "steps": "num_steps",
    "wd": "weight_decay",
    "workdir": "run_dir",
}
"""names used elsewhere -> flags of jsep."""


def own_flags() -> dict[str, flags.Flag]:
    """The flags of the script, without those defined by absl."""
    values = flags.FLAGS
    foreign = {
        flag.name for module, found in values.flags_by_module_dict().items() if "absl" in module for flag in found
    }
    return {name: values[name] for name in values if name not in foreign and values[name].name == name}


def suggestion(unknown: str) -> str:
    """The suggestion at the end of the error line for an unknown flag."""
    known = own_flags()
    if study.RENAMED.get(unknown) in known:
        return f", now called --{study.RENAMED[unknown]}"
    meant = MEANT.get(unknown.lower().replace("-", "_"), "")
    if meant and re.split(r"\W", meant)[0] in known:
        return f"; did you mean --{meant}?"
    near = difflib.get_close_matches(unknown.lower().replace("-", "_"), known, n=1, cutoff=0.6)
    return f"; did you mean --{near[0]}?" if near else "; --help lists the flags"


_BAD_VALUES = (
    (r"(.*): invalid literal for int\(\) with base 10: ('.*')", r"\1: expected a whole number such as 25, got \2"),
    (r"flag --(\w+)=(.*): \('Non-boolean argument to boolean flag', .*\)",
     r"flag --\1=\2: expected true or false, got '\2'; write --\1 or --no\1"),
    (r"Missing value for flag --(\w+)", r"flag --\1: expected a value, got none; write --\1=VALUE"),
    (r"--flagfile with no argument", r"flag --flagfile: expected a file, got none; write --flagfile=FILE"),
    (r"ERROR:: Unable to open flagfile: \[Errno \d+\] (.*): '(.*)'",
     r"flag --flagfile=\2: \1; `jsep recipes` lists the recipes"),
)  # fmt: skip
"""messages of absl -> messages of jsep, which name what was expected."""


def bad_value(message: str) -> str:
    """The error message for a flag's value: what was expected, what was given, what to do."""
    for pattern, words in _BAD_VALUES:
        found = re.fullmatch(pattern, message, re.DOTALL)
        if found:
            return found.expand(words)
    return message


def _default(flag: flags.Flag) -> str:
    value = flag.default
    if value is None or value == "" or value == []:
        return ""
    if isinstance(value, bool):
        return " (default: yes)" if value else ""
    shown = (
        ",".join(map(str, value)) if isinstance(value, list) else f"{value:g}" if isinstance(value, float) else value
    )
    return f" (default: {shown})"


def _title(name: str) -> str:
    return next((title for title, pattern in GROUPS if re.fullmatch(pattern, name)), "This script")


def help_text() -> str:
    """The flags of the script by group."""
    groups: dict[str, list[str]] = {title: [] for title in (*(title for title, _ in GROUPS), "This script")}
    for name, flag in own_flags().items():
        shown = f"--[no]{name}" if flag.boolean else f"--{name}"
        text = f"{flag.help}{_default(flag)}"
        lines = textwrap.wrap(text, _WIDTH - 32) or [""]
        start = f"  {shown:<28}  " if len(shown) <= 28 else f"  {shown}\n{'':32}"
        groups[_title(name)].append(start + f"\n{'':32}".join(lines))
    groups["The run"].insert(0, f"  {'--flagfile':<28}  a file of flags; of several values of a flag the last one wins")
    parts = [f"{title}:\n" + "\n".join(rows) for title, rows in groups.items() if rows]
    return "\n\n".join(parts) + "\n"
