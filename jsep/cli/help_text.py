"""The flags of a script in groups, for --help."""

import re
import textwrap

from absl import flags

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


def own_flags() -> dict[str, flags.Flag]:
    """The flags of the script, without those defined by absl."""
    values = flags.FLAGS
    foreign = {
        flag.name for module, found in values.flags_by_module_dict().items() if "absl" in module for flag in found
    }
    return {name: values[name] for name in values if name not in foreign and values[name].name == name}


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
