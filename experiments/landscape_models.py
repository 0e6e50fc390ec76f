"""The input landscape of trained models: Figure 1b, landscapes and Hessians of MAT, SEP_pos and SEP_neg.

python experiments/landscape_models.py --flagfile=experiments/flags/landscape_quick.flags --data_dir=DIR
"""

from jsep import cli

if __name__ == "__main__":
    cli.run("landscape_models")
