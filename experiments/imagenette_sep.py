"""Standard training, MAT, SEP_pos and SEP_neg on imagenette, ten classes of ImageNet: the appendix's ImageNet subset.

python experiments/imagenette_sep.py --flagfile=experiments/flags/imagenette_sep.flags
"""

import command_line

from jsep.study import StudyConfig

DEFAULTS = StudyConfig.of(
    experiment="imagenette_sep",
    dataset="imagenette",
    model="resnet18",
    feature_model="resnet18",
    augment=True,
)

if __name__ == "__main__":
    command_line.run_study(DEFAULTS)
