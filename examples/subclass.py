"""A model of your own: change what your paper changes, keep the rest.

genzoo fit --model examples.subclass.Mine --data Digits --trainer.max_epochs 20
"""

from torch import Tensor, nn
from torch.nn.functional import relu

from genzoo.zoo import DCGAN
from genzoo.zoo.gan.gan import Payoff
from genzoo.zoo.networks.conditional import beside


class Upsampling(nn.Module):
    """Nearest neighbours and plain convolutions, for fractionally-strided ones."""

    def __init__(self, image_shape: tuple[int, ...], latent_dim: int, num_classes: int, width: int):
        super().__init__()
        self.num_classes = num_classes
        channels, side, _ = image_shape
        self.start = nn.Linear(latent_dim + num_classes, width * (side // 4) ** 2)
        self.small = nn.Unflatten(1, (width, side // 4, side // 4))
        up = [nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        again = [nn.Upsample(scale_factor=2), nn.Conv2d(width, channels, 3, padding=1), nn.Tanh()]
        self.body = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), *up, *again)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.body(self.small(self.start(beside(z, y, self.num_classes))))


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    return relu(1 - real).mean() + relu(1 + fake).mean()


def minus_score(fake: Tensor) -> Tensor:
    return -fake.mean()


class Mine(DCGAN):
    """DCGAN with another generator and another loss."""

    Generator = Upsampling
    loss = Payoff(hinge, minus_score)
