"""The configuration of a landscape analysis: every setting that its results depend on."""

import dataclasses

from jsep import attack, landscape
from jsep.checks import InputError, check_epsilon
from jsep.study.configuration import Configuration, amount, count, group, random_seed, setting, size


@dataclasses.dataclass(frozen=True)
class AnalysisConfig:
    """The input landscape of a model."""

    scalars: tuple[str, ...] = setting(
        ("cross_entropy", "explanation_to_target", "explanation_to_own"),
        "scalar functions of the image, of",
        choices=landscape.SCALARS,
    )
    directions: tuple[str, ...] = setting(
        ("rademacher", "gradient_sign", "attack", "eigenvector", "to_image"),
        "directions of the slices, of",
        choices=landscape.DIRECTIONS,
    )
    num_directions: int = count(10, "lines an image of each random direction")
    num_images: int = count(
        0, "pairs of images analysed, the first of the study's list; 0: all", minimum=0, flag="landscape_images"
    )
    epsilon: float | None = size(
        None, "budget: size of a direction and of the ball; default: the study's", flag="landscape_epsilon"
    )
    norm: str = setting("linf", "its norm", choices=attack.NORMS, flag="landscape_norm")
    extent: float = amount(2.0, "the slices go from -extent to extent, in units of the budget")
    num_points: int = count(41, "points of a slice; an odd number meets the image itself", minimum=2)
    out_of_range: str = setting("clip", "points outside [0, 1]", choices=landscape.OUTSIDE_MODES)
    plane_images: int = count(4, "images over which the surface in a plane is averaged")
    plane_points: int = count(25, "points of a plane in each of its two directions", minimum=2)
    num_eigenvalues: int = count(5, "eigenvalues of largest magnitude")
    num_matvecs: int = count(20, "Lanczos steps")
    num_probes: int = count(20, "Rademacher vectors of trace, Frobenius norm and Jacobian norm", minimum=2)
    spectrum_probes: int = count(2, "Rademacher vectors of the spectral density")
    sharpness_samples: int = count(32, "points of the ball for the average sharpness", minimum=2)
    sharpness_steps: int = count(20, "ascent steps for the worst sharpness and the Lipschitz estimate", minimum=0)
    num_bootstrap: int = count(1000, "bootstrap samples of a rank correlation")
    seed: int = random_seed(0, "seed of directions, probes, starts and samples", flag="landscape_seed")
    chunk_size: int = count(64, "images times points in memory at once; changes no number", flag="landscape_chunk_size")

    def check(self) -> None:
        """Raises: InputError for repeated names, an invalid budget, or too few Lanczos steps."""
        for what, names in (("scalar function", self.scalars), ("direction", self.directions)):
            if not names or len(set(names)) != len(names):
                raise InputError(f"expected one or more different {what}s, got {', '.join(names) or 'none'}")
        if self.epsilon is not None:
            check_epsilon(self.epsilon, self.norm, "landscape_epsilon")
        if self.num_eigenvalues > self.num_matvecs:
            raise InputError(
                f"num_eigenvalues must be at most num_matvecs = {self.num_matvecs}, got {self.num_eigenvalues}"
            )

    def directions_of(self, scalar: str) -> tuple[str, ...]:
        """The slice directions of one scalar function; the loss to the own map has zero gradient at the image."""
        without = {"gradient", "gradient_sign"} if scalar == "explanation_to_own" else set()
        return tuple(name for name in self.directions if name not in without)


@dataclasses.dataclass(frozen=True)
class LandscapeConfig(Configuration):
    """The input landscape of trained models. The help text of each setting is its documentation."""

    models: tuple[str, ...] = setting(("runs/digits_sep",), "run directories of finished studies whose models are read")
    data_dir: str | None = setting(None, "TFDS data directory; default: where the study found it")
    analysis: AnalysisConfig = group(AnalysisConfig)

    def check(self) -> None:
        """Raises: InputError without models, or for incompatible settings of the analysis."""
        if not self.models:
            raise InputError("models names no run directory: give one or more, such as runs/digits_sep")
        self.analysis.check()
