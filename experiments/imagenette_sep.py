"""Standard training, MAT, SEP_pos and SEP_neg on imagenette, ten classes of ImageNet: the appendix's ImageNet subset.

python experiments/imagenette_sep.py --flagfile=experiments/flags/imagenette_sep.flags
"""

from jsep import cli

if __name__ == "__main__":
    cli.run("imagenette_sep")
