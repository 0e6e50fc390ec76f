"""How strong is the targeted attack on explanations, and what does each member of the ensemble add?

python experiments/explanation_attacks.py --flagfile=experiments/flags/explanation_attacks_quick.flags
"""

from jsep import cli

if __name__ == "__main__":
    cli.run("explanation_attacks")
