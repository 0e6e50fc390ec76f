"""PGD, Auto-PGD and AutoAttack on the trained models of a study, beside other implementations on the same weights.

python experiments/attack_strength.py --flagfile=experiments/flags/attack_strength_quick.flags --data_dir=DIR
"""

from jsep import cli

if __name__ == "__main__":
    cli.run("attack_strength")
