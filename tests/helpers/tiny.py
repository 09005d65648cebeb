"""Every model of the zoo as small as it goes, and batches for it."""

import inspect

import torch
from torch.utils.data import DataLoader, TensorDataset

import genzoo.zoo
from genzoo.zoo.base import GenerativeModel
from tests.helpers.training import bits, loader

MODELS = {
    name: model
    for name, model in vars(genzoo.zoo).items()
    if inspect.isclass(model)
    and issubclass(model, GenerativeModel)
    and "image_shape" in inspect.signature(model).parameters
}
TINY = {
    "GAN": {"latent_dim": 4, "width": 16},
    "DCGAN": {"latent_dim": 4, "width": 4},
    "FGAN": {"latent_dim": 4, "width": 16},
    "GeometricGAN": {"latent_dim": 4, "width": 16},
    "AdaGAN": {
        "latent_dim": 4,
        "width": 16,
        "num_components": 2,
        "stage_steps": 1,
        "classifier_steps": 1,
    },
    "GoGAN": {"latent_dim": 4, "width": 16, "d_steps": 1, "stage_steps": 1},
    "ImprovedGAN": {"latent_dim": 4, "width": 16},
    "LAPGAN": {"levels": 1, "latent_dim": 4, "width": 16, "detail_width": 4},
    "LSGAN": {"latent_dim": 4, "width": 16},
    "BGAN": {"latent_dim": 4, "width": 16},
    "BoundarySeekingGAN": {"latent_dim": 4, "width": 16},
    "EBGAN": {"latent_dim": 4, "width": 16, "code_dim": 4},
    "BEGAN": {"latent_dim": 4, "width": 16, "code_dim": 4},
    "ProgressiveGAN": {"latent_dim": 4, "width": 4, "stage_steps": 1},
    "WGAN": {"latent_dim": 4, "width": 16, "d_steps": 1},
    "WGANGP": {"latent_dim": 4, "width": 16, "d_steps": 1},
    "CGAN": {"latent_dim": 4, "width": 16},
    "ACGAN": {"latent_dim": 4, "width": 16},
    "AMGAN": {"latent_dim": 4, "width": 16, "target": "label"},
    "InfoGAN": {"latent_dim": 4, "width": 16},
    "AAE": {"latent_dim": 3, "width": 16, "code_width": 16},
    "AEGAN": {"latent_dim": 3, "width": 16},
    "BiGAN": {"latent_dim": 3, "width": 16, "pair_width": 16},
    "ALI": {"latent_dim": 3, "width": 16, "pair_width": 16},
    "LFVI": {"latent_dim": 3, "width": 16, "pair_width": 16, "d_steps": 1},
    "IAN": {"latent_dim": 3, "width": 16, "head_width": 8},
    "VAEGAN": {"latent_dim": 3, "width": 16},
    "CVAEGAN": {"latent_dim": 3, "width": 16},
    "SemiSupervisedGAN": {"latent_dim": 4, "width": 16},
    "CatGAN": {"latent_dim": 4, "width": 16},
    "CCGAN": {"latent_dim": 4, "width": 16},
    "Autoencoder": {"latent_dim": 3, "width": 64},
    "LinearAutoencoder": {"latent_dim": 3},
    "ConvAutoencoder": {"latent_dim": 3, "width": 4},
    "DenoisingAutoencoder": {"latent_dim": 3, "width": 64},
    "VAE": {"latent_dim": 3, "width": 16},
    "BetaVAE": {"latent_dim": 3, "width": 16},
    "CVAE": {"latent_dim": 3, "width": 16},
    "QuadrantCVAE": {"latent_dim": 3, "width": 16},
    "PixelVAE": {"latent_dim": 3, "width": 16, "levels": 2, "features": 4, "lr": 0.03},
    "PixelCNN": {"levels": 2, "width": 4, "layers": 3},
    "GatedPixelCNN": {"levels": 2, "width": 4, "layers": 3},
    "PixelCNNpp": {"levels": 2, "width": 4, "layers": 1, "dropout": 0.0, "ema_decay": 0.0},
    "RowLSTM": {"levels": 2, "width": 4, "layers": 2},
    "DiagonalBiLSTM": {"levels": 2, "width": 4, "layers": 2},
    "RBM": {"hidden": 6, "sweeps": 10, "lr": 1.0},
    "DBM": {"hidden": 6, "top": 4, "chains": 12, "sweeps": 10, "lr": 1.0},
    "GeneralizedDenoisingAutoencoder": {"width": 16, "steps": 10},
    "GSN": {"width": 16, "steps": 10},
    "ChairGenerator": {"width": 8},
}
LABELLED = {
    "SemiSupervisedGAN",
    "CCGAN",
    "CGAN",
    "ACGAN",
    "AMGAN",
    "CVAEGAN",
}  # no models without classes
SHAPE = (1, 8, 8)


def build(name: str, num_classes: int = 0, **settings) -> GenerativeModel:
    torch.manual_seed(0)
    num_classes = 3 if name in LABELLED else num_classes
    return MODELS[name](SHAPE, num_classes=num_classes, **{**TINY[name], **settings})


def batches(name: str) -> DataLoader:
    """What a model is trained on: ChairGenerator is told a view beside the type."""
    data = loader(bits(24))
    if name == "ChairGenerator":
        x, y = data.dataset.tensors
        y = torch.stack((y, torch.arange(24) * 15, torch.full((24,), 20)), dim=1).float()
        data = DataLoader(TensorDataset(x, y), 8)
    return data
