"""Flax classifiers of (B, H, W, C) images in [0, 1], and functions of one image made from them.

A new model is one file with a `Classifier` and one line in `MODELS`. The rest of the library does not depend on Flax:
any function image -> logits can replace `logits_fn(model, variables)`; `wrap` makes one of a model of any framework.
"""

from jsep.arguments import explain_failures
from jsep.models.architectures import MODELS, create, with_activation
from jsep.models.convnet import ConvNet
from jsep.models.functional import Functional, from_module
from jsep.models.functions import attention_fn, batch_fn, features_fn, init, logits_fn, model_fn, split_variables
from jsep.models.layers import ACTIVATIONS, BATCH_NORM_MOMENTUM, Classifier
from jsep.models.mobilenet import MobileNetV2
from jsep.models.resnet import ResNet
from jsep.models.torch_weights import import_torch
from jsep.models.vit import ViT
from jsep.models.weights import load_weights, save_weights
from jsep.models.wide_resnet import WideResNet
from jsep.models.wrap import wrap
from jsep.models.zoo import load_pretrained, pretrained

__all__ = [
    "ACTIVATIONS",
    "BATCH_NORM_MOMENTUM",
    "MODELS",
    "Classifier",
    "ConvNet",
    "Functional",
    "MobileNetV2",
    "ResNet",
    "ViT",
    "WideResNet",
    "attention_fn",
    "batch_fn",
    "create",
    "features_fn",
    "from_module",
    "import_torch",
    "init",
    "load_pretrained",
    "load_weights",
    "logits_fn",
    "model_fn",
    "pretrained",
    "save_weights",
    "split_variables",
    "with_activation",
    "wrap",
]


explain_failures(__all__, globals())
