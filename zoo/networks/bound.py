"""What steadies a discriminator, whatever the game: for any network, beyond the lectures.

spectral normalisation   Miyato et al., 2018, https://arxiv.org/abs/1802.05957
DiffAugment              Zhao et al., 2020, https://arxiv.org/abs/2006.10738
instance noise           Sonderby et al., 2016, https://arxiv.org/abs/1610.04490
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm)
LAYERS = (nn.Linear, nn.Conv2d)


def spectrally_normal(network: nn.Module) -> nn.Module:
    """The same network with every weight divided by its largest singular value.

    Its slope is then at most that of its activations, 1, however it is trained. Normalisation
    layers are taken out, as they would rescale what was just bound. A kernel counts as the
    matrix (out, in h w).
    """
    for name, module in list(network.named_modules()):
        if isinstance(module, NORMS):
            network.set_submodule(name, nn.Identity())
        elif isinstance(module, LAYERS):
            parametrizations.spectral_norm(module)
    return network


class Bound:
    """All of them; before a network's class.

    In training every image is changed at random. Data and samples are changed alike, and
    gradients pass, so that the generator does not learn the changes, and few images last longer.
    Noise comes last: it gives data and samples, which may have no point in common, a common
    support, on which the best discriminator is not sure of all it sees.
    """

    normalise: bool = False
    policy: tuple[str, ...] = ()  # of CHANGES
    noise: float = 0.0  # its standard deviation at first ...
    left: float = 1.0  # ... and the share of it that is left

    def __init__(self, *numbers):
        super().__init__(*numbers)
        if self.normalise:
            spectrally_normal(self)

    def forward(self, x: Tensor, *rest: Tensor) -> Tensor:
        if self.training:
            for change in self.policy:
                x = CHANGES[change](x)
            if self.noise:
                x = x + self.noise * self.left * torch.randn_like(x)
        return super().forward(x, *rest)


def bound(network_class: type, normalise: bool, policy: Sequence[str], noise: float = 0.0) -> type:
    """A class of the same networks, spectrally normal, or with images changed by this policy, or
    with noise of this standard deviation on them.

    Raises:
        ValueError: a name that is none of CHANGES.
    """
    unknown = [change for change in policy if change not in CHANGES]
    if unknown:
        raise ValueError(f"augment must be of {', '.join(CHANGES)}, got {', '.join(unknown)}")
    ways = {"normalise": normalise, "policy": tuple(policy), "noise": noise}
    return type(f"Bound{network_class.__name__}", (Bound, network_class), ways)


def unbound(network: nn.Module) -> nn.Module:
    """The same network without any of it: an encoder has nothing to be held back from."""
    for module in list(network.modules()):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")
        if isinstance(module, Bound):
            module.policy, module.noise = (), 0.0
    return network


def refuse_chance(network: nn.Module, why: str) -> None:
    """Raises a ValueError where a part of the network changes its images at random."""
    for module in network.modules():
        if isinstance(module, Bound) and module.policy:
            raise ValueError(f"augment must be empty: {why}")
        if isinstance(module, Bound) and module.noise:
            raise ValueError(f"instance_noise must be 0: {why}")


def let_noise_fall(network: nn.Module, left: float) -> None:
    """To this share of what it was at first."""
    for module in network.modules():
        if isinstance(module, Bound):
            module.left = left


def colour(x: Tensor) -> Tensor:
    """Brightness by up to a quarter of the range either way, saturation by 0 to 2, contrast by
    0.5 to 1.5 (B, C, H, W)."""
    brightness, saturation, contrast = torch.rand(3, len(x), 1, 1, 1, device=x.device).to(x)
    x = x + brightness - 0.5
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * 2 * saturation
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (x - mean) * (contrast + 0.5)


def translation(x: Tensor, share: float = 1 / 8) -> Tensor:
    """Moved by up to this share of the side, each way; what comes in is mid-grey."""
    n, _, height, width = x.shape
    reach = [max(1, round(side * share)) for side in (height, width)]
    down, right = (torch.randint(-most, most + 1, (n, 1, 1), device=x.device) for most in reach)
    row = torch.arange(height, device=x.device).view(1, -1, 1) - down
    column = torch.arange(width, device=x.device).view(1, 1, -1) - right
    seen = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    image = torch.arange(n, device=x.device).view(-1, 1, 1)
    moved = x.movedim(1, -1)[image, row.clamp(0, height - 1), column.clamp(0, width - 1)]
    return moved.movedim(-1, 1) * seen[:, None]


def cutout(x: Tensor, share: float = 1 / 2) -> Tensor:
    """A square with this share of the side made mid-grey, anywhere; part of it may be outside."""
    n, _, height, width = x.shape
    hidden = []
    for side in (height, width):
        size = max(1, round(side * share))
        first = torch.randint(1 - (size + 1) // 2, side - size // 2 + 1, (n, 1), device=x.device)
        place = torch.arange(side, device=x.device)
        hidden.append((place >= first) & (place < first + size))
    return x * ~(hidden[0][:, None, :, None] & hidden[1][:, None, None, :])


CHANGES = {"colour": colour, "translation": translation, "cutout": cutout}
