"""Writes a data set to one .npz file, which loads fast with NumPy alone, for machines without TFDS or a network.

python experiments/prepare_data.py --dataset=cifar10 --data_dir=DIR --out=cifar10.npz
Then: --dataset=cifar10.npz in any experiment.
"""

from jsep import cli

if __name__ == "__main__":
    cli.run("prepare_data")
