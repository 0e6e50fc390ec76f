"""PGD, Auto-PGD and AutoAttack on the trained models of a study, beside other implementations on the same weights.

python experiments/attack_strength.py --flagfile=experiments/flags/attack_strength_quick.flags --data_dir=DIR
"""

import command_line
import torch_peers

from jsep import study

study.PEERS.update(torch_peers.PEERS)
DEFAULTS = study.AttackStrengthConfig.of(experiment="attack_strength")

if __name__ == "__main__":
    command_line.run_study(DEFAULTS)
