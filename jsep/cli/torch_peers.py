"""Other implementations of the attacks on a PyTorch twin of the ConvNet: foolbox, torchattacks, and the reference
implementation of AutoAttack where it can be imported. Importing this module registers them."""

import os
from typing import Any

import numpy as np

from jsep import models, study
from jsep.checks import InputError
from jsep.study import AttackStrengthConfig, Peer, TrainedStudy
from jsep.types import PyTree


def twin(model: models.Classifier, variables: PyTree) -> Any:
    """The ConvNet in PyTorch, with the given parameters.

    Raises: InputError where PyTorch is not installed, or for another model.
    """
    try:
        import torch
    except ImportError:
        raise InputError("peers need PyTorch: pip install -e '.[oracle]', or run without --peers") from None
    if not isinstance(model, models.ConvNet) or model.activation != "softplus":
        raise InputError(f"peers attack a twin of the softplus ConvNet, got {type(model).__name__}")
    params = {name: {k: np.asarray(v) for k, v in layer.items()} for name, layer in variables["params"].items()}

    class Twin(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mean, self.std = (torch.tensor(v).reshape(1, -1, 1, 1) for v in (model.mean, model.std))
            self.convs = torch.nn.ModuleList()
            for index in range(len(params) - 1):
                kernel = params[f"Conv_{index}"]["kernel"]
                inputs, outputs = kernel.shape[2:]
                conv = torch.nn.Conv2d(inputs, outputs, 3, stride=1 if index == 0 else 2, padding=1)
                weight, bias = torch.tensor(kernel.transpose(3, 2, 0, 1)), torch.tensor(params[f"Conv_{index}"]["bias"])
                conv.load_state_dict({"weight": weight, "bias": bias})
                self.convs.append(conv)
            self.head = torch.nn.Linear(*params["head"]["kernel"].shape)
            self.head.weight.data = torch.tensor(params["head"]["kernel"].T.copy())
            self.head.bias.data = torch.tensor(params["head"]["bias"])
            self.act = torch.nn.Softplus(beta=float(model.softplus_beta))
            for parameter in self.parameters():  # only gradients with respect to the images are needed
                parameter.requires_grad_(False)

        def forward(self, images: Any) -> Any:
            x = (images - self.mean) / self.std
            for conv in self.convs:
                x = self.act(conv(x))
            return self.head(x.permute(0, 2, 3, 1).flatten(1))

    torch.set_num_threads(os.cpu_count() or 1)
    return Twin().eval()


def to_torch(images: np.ndarray, labels: np.ndarray) -> tuple[Any, Any]:
    """Images (B, H, W, C) and labels as tensors, channels first."""
    import torch

    # Contiguous, since some implementations view the gradients, which inherit the strides of the images.
    return torch.tensor(images.transpose(0, 3, 1, 2)).contiguous(), torch.tensor(labels).long()


def from_torch(images: Any) -> np.ndarray:
    """Images (B, C, H, W) as an array (B, H, W, C)."""
    return images.detach().numpy().transpose(0, 2, 3, 1)


def _in_chunks(config: AttackStrengthConfig, one: Any, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    found = []
    for first in range(0, len(images), config.chunk_size):
        part = slice(first, first + config.chunk_size)
        found.append(from_torch(one(*to_torch(images[part], labels[part]))))
    return np.concatenate(found)


def _reference(config: AttackStrengthConfig, trained: TrainedStudy, variables: PyTree) -> Any:
    try:
        from autoattack import AutoAttack
    except ImportError:
        raise InputError("--peers=autoattack needs the reference package autoattack on the path") from None
    network = twin(trained.model, variables)
    norm = {"linf": "Linf", "l2": "L2"}[config.budget.norm]

    def run(what: str, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        adversary = AutoAttack(
            network,
            norm=norm,
            eps=config.budget.epsilon,
            seed=config.seed,
            verbose=False,
            version="standard",
            device="cpu",
        )
        # The published settings, but for the steps, queries and target classes of the configuration.
        for member in (adversary.apgd, adversary.apgd_targeted):
            member.n_iter = config.num_steps
            member.n_iter_2, member.n_iter_min, member.size_decr = (
                max(int(share * config.num_steps), 1) for share in (0.22, 0.06, 0.03)
            )
        adversary.fab.n_iter, adversary.square.n_queries = config.num_steps, config.num_queries
        for member in (adversary.apgd_targeted, adversary.fab):
            member.n_target_classes = config.num_targets
        adversary.attacks_to_run = list(config.ensemble_attacks) if what == "ensemble" else [what]
        return from_torch(adversary.run_standard_evaluation(*to_torch(images, labels), bs=config.chunk_size))

    return run


def _foolbox(config: AttackStrengthConfig, trained: TrainedStudy, variables: PyTree) -> Any:
    try:
        import foolbox
    except ImportError:
        raise InputError("--peers=foolbox needs the extra: pip install -e '.[oracle]'") from None
    kind = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}[config.budget.norm]
    attack = kind(abs_stepsize=config.budget.epsilon / 4, steps=config.pgd_steps, random_start=True)
    model = foolbox.PyTorchModel(twin(trained.model, variables), bounds=(0, 1))

    def run(what: str, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        import torch

        torch.manual_seed(config.seed)
        return _in_chunks(config, lambda x, y: attack(model, x, y, epsilons=config.budget.epsilon)[1], images, labels)

    return run


def _torchattacks(config: AttackStrengthConfig, trained: TrainedStudy, variables: PyTree) -> Any:
    try:
        import torchattacks
    except ImportError:
        raise InputError("--peers=torchattacks needs the extra: pip install -e '.[oracle]'") from None
    network = twin(trained.model, variables)
    norm, epsilon = {"linf": "Linf", "l2": "L2"}[config.budget.norm], config.budget.epsilon
    kind = torchattacks.PGD if norm == "Linf" else torchattacks.PGDL2
    pgd = kind(network, eps=epsilon, alpha=epsilon / 4, steps=config.pgd_steps)
    apgd = torchattacks.APGD(network, norm=norm, eps=epsilon, steps=config.num_steps, loss="ce", seed=config.seed)
    attacks = {"pgd": pgd, "apgd-ce": apgd}

    def run(what: str, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        import torch

        torch.manual_seed(config.seed)
        return _in_chunks(config, attacks[what], images, labels)

    return run


PEERS = {
    "autoattack": Peer(("apgd-ce", "apgd-dlr", "apgd-t", "fab-t", "square", "ensemble"), _reference),
    "torchattacks": Peer(("pgd", "apgd-ce"), _torchattacks),
    "foolbox": Peer(("pgd",), _foolbox),
}
"""name -> Peer, for `attack_strength`."""

study.PEERS.update(PEERS)
