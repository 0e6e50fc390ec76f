"""Configurations as one flat value: a flagfile, a key of result.json, a checkpoint's owner."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self


def setting(default: Any, text: str) -> Any:
    """A field with its documentation, which is its flag's help."""
    return dataclasses.field(default=default, metadata={"help": text})


RENAMED = {
    "rival_weight": "regulariser_weight",
    "rival_noise_scale": "regulariser_noise_scale",
    "rival_cure_step": "regulariser_cure_step",
    "rival_top_k": "regulariser_top_k",
    "rival_num_gaps": "regulariser_num_gaps",
    "alone": "single_attacks",
    "ensemble": "ensemble_attacks",
    "outside": "out_of_range",
    "chosen": "recipe_set",
}
"""What a field is called in older configurations and flagfiles -> its name now."""


def with_new_names(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A stored configuration with the names that its fields have now: whoever reads one begins with this."""
    return {RENAMED.get(name, name): value for name, value in stored.items()}


@dataclasses.dataclass(frozen=True)
class FlatConfig:
    """Fields of str, bool, int, float, tuple of str, or one of them or None."""

    experiment: str = setting("study", "name of the experiment in result.json")

    def as_dict(self) -> dict[str, Any]:
        """JSON-like values by field name."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The configuration whose `as_dict` gave `values`, perhaps under older names, checked again."""
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in with_new_names(values).items()
        }
        return cls(**fields)

    def as_flagfile(self) -> str:
        """The text of a flagfile that sets every field; a field that is None is left out."""
        lines = []
        for name, value in self.as_dict().items():
            if value is None:
                continue
            text = ",".join(value) if isinstance(value, list) else str(value)
            lines.append(f"--{name}={text}" if not isinstance(value, bool) else f"--{name}={str(value).lower()}")
        return "\n".join(lines) + "\n"


# Where the data lie, how much is in memory at once and when to give up change no number.
NOT_PART_OF_A_RESULT = frozenset({"data_dir", "chunk_size", "on_collapse", "stream"})


def differences(stored: dict[str, Any], config: FlatConfig) -> list[str]:
    """The fields in which a stored configuration differs, as "name (there, now)"; empty when none matters.

    A field that is younger than the stored configuration had its default there.
    """
    now = config.as_dict()
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    stored = {**{n: list(d) if isinstance(d, tuple) else d for n, d in defaults.items()}, **with_new_names(stored)}
    names = sorted(({*stored, *now}) - NOT_PART_OF_A_RESULT)
    return [
        f"{name} ({stored.get(name)!r} there, {now.get(name)!r} now)"
        for name in names
        if stored.get(name) != now.get(name)
    ]
