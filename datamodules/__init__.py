"""The data, served as `ImageData`; `genzoo data` lists them."""

from .base import ImageData
from .batches import Batches, Images, SemiSupervisedBatches, TrainingBatches
from .celeba import CelebA
from .chairs import Chairs
from .cifar10 import CIFAR10
from .digits import Digits
from .folder import ImageFolder
from .mnist import MNIST, FashionMNIST, MNIST10k
from .toys import Toy, mode_coverage

__all__ = [
    "CIFAR10",
    "MNIST",
    "Batches",
    "CelebA",
    "Chairs",
    "Digits",
    "FashionMNIST",
    "ImageData",
    "ImageFolder",
    "Images",
    "MNIST10k",
    "Toy",
    "SemiSupervisedBatches",
    "TrainingBatches",
    "mode_coverage",
]
