"""Regularisation of a discriminator, for any game and any network.

spectral normalisation   Miyato et al., 2018, https://arxiv.org/abs/1802.05957
the penalty R1           Mescheder et al., 2018, https://arxiv.org/abs/1801.04406
DiffAugment              Zhao et al., 2020, https://arxiv.org/abs/2006.10738
instance noise           Sonderby et al., 2016, https://arxiv.org/abs/1610.04490
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from ..._torch import (
    BATCH_NORM,
    CONVOLUTION,
    NORM,
    hooks_before,
    remove_hooks_before,
    state_without,
)
from ...checks import at_least

NORMS = (NORM, nn.GroupNorm, nn.LayerNorm)
# Steps of the power method at each forward pass. One, as the paper has it, lags behind the weights
# of linear layers that move fast: at a rate of 1e-2 scores came to slopes of 2 to 12.
LINEAR_STEPS, KERNEL_STEPS = 4, 1
LAYERS = (nn.Linear, CONVOLUTION, nn.Embedding)


@dataclass(frozen=True)
class Regularisation:
    """How a discriminator is regularised; plain values, so that YAML can give it as a mapping.

    >>> Regularisation.of({"r1": 10.0}, spectral_norm=True).plain()
    {'spectral_norm': True, 'r1': 10.0}

    Args:
        spectral_norm: Whether weights are divided by their largest singular value; normalisation
            layers are removed.
        r1: gamma of the penalty gamma/2 |gradient of the score at data|^2 (eq. 9); 0: none.
        r1_every: The penalty is added at every k-th batch only, with k times its weight
            (StyleGAN2's lazy regularisation, https://arxiv.org/abs/1912.04958, sec. 3.1).
        augment: Random changes of real images and samples before the discriminator: "colour",
            "translation", "cutout"; (): none.
        instance_noise: Standard deviation of the noise on the discriminator's input; 0: none.
        instance_noise_steps: Steps over which the instance noise falls linearly to 0; 0: it is
            constant.
    """

    spectral_norm: bool = False
    r1: float = 0.0
    r1_every: int = 1
    augment: tuple[str, ...] = ()
    instance_noise: float = 0.0
    instance_noise_steps: int = 0

    def __post_init__(self):
        changes = (self.augment,) if isinstance(self.augment, str) else tuple(self.augment)
        object.__setattr__(self, "augment", changes)  # YAML has lists
        at_least(0, r1=self.r1, instance_noise=self.instance_noise)
        at_least(0, instance_noise_steps=self.instance_noise_steps)
        at_least(1, r1_every=self.r1_every)
        unknown = [change for change in changes if change not in CHANGES]
        if unknown:
            raise ValueError(f"augment must be of {', '.join(CHANGES)}, got {', '.join(unknown)}")
        if self.r1_every > 1 and not self.r1:
            raise ValueError(f"r1_every must be 1 without r1, got {self.r1_every}")
        if self.instance_noise_steps and not self.instance_noise:
            got = self.instance_noise_steps
            raise ValueError(f"instance_noise_steps must be 0 without instance_noise, got {got}")

    @classmethod
    def of(
        cls, given: "Regularisation | Mapping[str, Any] | None", **short: Any
    ) -> "Regularisation":
        """A regularisation from a value or a mapping, combined with separate arguments.

        Raises:
            ValueError: a name is unknown, or the two give different values for one name.
        """
        defaults = {field.name: field.default for field in fields(cls)}
        if isinstance(given, Regularisation):
            given = given.plain()
        found = dict(given or {})
        unknown = [name for name in found if name not in defaults]
        if unknown:
            names = ", ".join(defaults)
            raise ValueError(f"regularisation must be of {names}, got {', '.join(unknown)}")
        for name, value in short.items():
            value = tuple(value) if isinstance(value, list) else value
            if value == defaults[name]:
                continue
            if found.get(name, value) not in (value, defaults[name]):
                raise ValueError(f"{name} must be given once, got {value} and {found[name]}")
            found[name] = value
        return cls(**found)

    def plain(self) -> dict[str, Any]:
        """The values that are not the defaults, as a mapping."""
        values = ((field, getattr(self, field.name)) for field in fields(self))
        changed = {field.name: value for field, value in values if value != field.default}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in changed.items()}

    @property
    def by_chance(self) -> bool:
        """Whether images are changed at random."""
        return bool(self.augment or self.instance_noise)

    def refuse_points(self, image_shape: tuple[int, ...]) -> None:
        """Raises: ValueError: images would be augmented, but the data are points."""
        if self.augment and len(image_shape) != 3:
            got = ", ".join(self.augment)
            raise ValueError(f"augment must be empty for points, got {got}")

    def refuse_batch_norm(self, network: nn.Module) -> None:
        """Raises: ValueError: R1 is used with batch normalisation, which couples images."""
        for name, module in network.named_modules() if self.r1 else ():
            if isinstance(module, BATCH_NORM):
                raise ValueError(
                    "r1 must be 0 for a discriminator with batch normalisation (each image's "
                    f"slope must be its own; spectral_norm takes it out), got {module} at "
                    f"{name}"
                )

    def wrap(self, network: nn.Module) -> nn.Module:
        """The same network, regularised; parts that are regularised already stay as they are.

        Call it when a network is made, and again when the network is a part of a larger one.
        """
        if self.spectral_norm:
            spectrally_normal(network)
        if self.by_chance and not any(disturbances(network)):
            network.register_forward_pre_hook(Disturbance(self.augment, self.instance_noise))
        return network

    def penalty(self, score: Tensor, x: Tensor) -> Tensor:
        """r1 / 2 times the mean squared norm of the gradient of scores (B,) at data x (B, ...)."""
        (slope,) = torch.autograd.grad(score.sum(), x, create_graph=True)
        return self.r1 / 2 * slope.flatten(1).square().sum(1).mean()


# Weights


def spectrally_normal(network: nn.Module) -> nn.Module:
    """The same network with every weight divided by its largest singular value.

    The slope of the network is then at most that of its activations, 1. Normalisation layers are
    removed, since they would rescale the outputs. A kernel is treated as the matrix (out, in h w),
    as in the paper; where kernels overlap, a convolution can be steeper than this matrix. A module
    whose form makes it steeper defines a method `limit_slope`, which is called.

    >>> linear = spectrally_normal(nn.Linear(3, 3, bias=False)).eval()
    >>> bool(torch.linalg.matrix_norm(linear.weight, 2) < 1.1)
    True
    """
    without_norms(network)
    for module in list(network.modules()):
        if isinstance(module, LAYERS) and not parametrize.is_parametrized(module, "weight"):
            kernel = isinstance(module, CONVOLUTION)
            steps = KERNEL_STEPS if kernel else LINEAR_STEPS
            parametrizations.spectral_norm(module, n_power_iterations=steps)
            type(module).__reduce_ex__ = _reduce  # torch's own refuses
        if hasattr(module, "limit_slope"):
            module.limit_slope()
    return network


def without_norms(network: nn.Module) -> nn.Module:
    """The same network without normalisation layers.

    A layer that had no bias, because a normalisation layer followed, gets one, 0.
    """
    layer = None
    for name, module in list(network.named_modules()):
        if isinstance(module, NORMS):
            network.set_submodule(name, nn.Identity())
            channels = len(module.weight) if getattr(module, "weight", None) is not None else 0
            if layer is not None and layer.bias is None and channels == outputs(layer):
                layer.bias = nn.Parameter(layer.weight.new_zeros(channels))
                layer.got_bias_back = True
        elif isinstance(module, nn.Linear | CONVOLUTION):
            layer = module
    return network


def carry_over(network: nn.Module, state: dict[str, Tensor]) -> bool:
    """Converts the state of an older network for this one, in place; returns whether it had to.

    Older networks had heads without spectral normalisation, or layers without the bias that
    `without_norms` adds: then all of these biases are missing. If only some are missing, the file
    is damaged rather than older, and nothing is added.
    """
    changed = False
    returned = [
        (f"{name}.bias", module)
        for name, module in network.named_modules()
        if getattr(module, "got_bias_back", False) and module.bias is not None
    ]
    if returned and not any(key in state for key, _ in returned):
        state.update({key: torch.zeros_like(module.bias) for key, module in returned})
        changed = True
    for name, module in network.named_modules():
        weight = f"{name}.weight"
        normal = f"{name}.parametrizations.weight"
        if isinstance(module, nn.Identity):
            gone = [key for key in state if key.startswith(f"{name}.")]
            changed |= bool([state.pop(key) for key in gone])
        elif isinstance(module, LAYERS):
            if parametrize.is_parametrized(module, "weight") and weight in state:
                original = state[f"{normal}.original"] = state.pop(weight)
                matrix = original.movedim(module.parametrizations.weight[0].dim, 0).flatten(1)
                u, _, v = torch.linalg.svd(matrix.float(), full_matrices=False)
                state[f"{normal}.0._u"], state[f"{normal}.0._v"] = u[:, 0].clone(), v[0].clone()
                changed = True
    return changed


def outputs(layer: nn.Module) -> int:
    """Output channels or features of a linear or convolutional layer."""
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels


def _reduce(layer: nn.Module, protocol: int) -> tuple:
    """Pickles a spectrally normal layer as a plain layer and the state of its normalisation, since
    torch makes the layer's own class at run time."""
    normal = layer.parametrizations.weight
    state = state_without(layer, "parametrizations", weight=normal.original)
    return _normal_again, (type(layer).__bases__[0], state, normal.state_dict())


def _normal_again(kind: type[nn.Module], state: dict[str, Any], normal: dict) -> nn.Module:
    layer = kind.__new__(kind)
    layer.__dict__.update(state)
    with torch.random.fork_rng(devices=[]):
        spectrally_normal(layer)
    layer.parametrizations.weight.load_state_dict(normal)
    layer.parametrizations.train(layer.training)
    return layer


def without_regularisation(network: nn.Module) -> nn.Module:
    """The same network without regularisation, which an encoder does not need."""
    for module in list(network.modules()):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")
        remove_hooks_before(module, Disturbance)
    return network


# Random changes


class Disturbance:
    """Changes the images of a network's input at random in training.

    Data and samples are changed in the same way, and gradients pass through the changes. So the
    generator does not learn the changes, and a small data set is overfitted later. The noise is
    added last: data and samples may have disjoint supports, and noise gives them a common one, on
    which the best discriminator is not certain.

    Args:
        policy: Names of CHANGES, in the order in which they are applied.
        noise: Standard deviation of the noise at the start.

    Attributes:
        left: Remaining share of the noise, in [0, 1].
    """

    def __init__(self, policy: tuple[str, ...], noise: float):
        self.policy, self.noise, self.left = policy, noise, 1.0

    def __call__(self, network: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if not network.training:
            return None
        x, *rest = inputs
        for change in self.policy:
            x = CHANGES[change](x)
        if self.noise:
            x = x + self.noise * self.left * torch.randn_like(x)
        return x, *rest


def disturbances(network: nn.Module) -> Iterator[Disturbance]:
    """The disturbances of all modules of a network."""
    for module in network.modules():
        for hook in hooks_before(module):
            if isinstance(hook, Disturbance):
                yield hook


def refuse_chance(network: nn.Module, why: str) -> None:
    """Raises a ValueError where a part of the network changes its images at random."""
    for found in disturbances(network):
        if found.policy:
            raise ValueError(f"augment must be empty: {why}")
        raise ValueError(f"instance_noise must be 0: {why}")


def let_noise_fall(network: nn.Module, left: float) -> None:
    """Sets the instance noise to a share of its first standard deviation."""
    for found in disturbances(network):
        found.left = left


def colour(x: Tensor) -> Tensor:
    """Images (B, C, H, W) with random brightness (up to a quarter of the range, either way),
    saturation (times 0 to 2) and contrast (times 0.5 to 1.5)."""
    brightness, saturation, contrast = torch.rand(3, len(x), 1, 1, 1, device=x.device).to(x)
    x = x + brightness - 0.5
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * 2 * saturation
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (x - mean) * (contrast + 0.5)


def translation(x: Tensor, share: float = 1 / 8) -> Tensor:
    """Images moved by up to a share of the side in each direction; the free border is mid-grey."""
    n, _, height, width = x.shape
    reach = [max(1, round(side * share)) for side in (height, width)]
    down, right = (torch.randint(-most, most + 1, (n, 1, 1), device=x.device) for most in reach)
    row = torch.arange(height, device=x.device).view(1, -1, 1) - down
    column = torch.arange(width, device=x.device).view(1, 1, -1) - right
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    image = torch.arange(n, device=x.device).view(-1, 1, 1)
    moved = x.movedim(1, -1)[image, row.clamp(0, height - 1), column.clamp(0, width - 1)]
    return moved.movedim(-1, 1) * inside[:, None]


def cutout(x: Tensor, share: float = 1 / 2) -> Tensor:
    """Images with one mid-grey square, its side a share of theirs, placed at random; a part of it
    may be outside."""
    n, _, height, width = x.shape
    hidden = []
    for side in (height, width):
        size = max(1, round(side * share))
        last = side - (size + 1) // 2  # as much of it outside on the right as on the left
        first = torch.randint(-(size // 2), last + 1, (n, 1), device=x.device)
        place = torch.arange(side, device=x.device)
        hidden.append((place >= first) & (place < first + size))
    return x * ~(hidden[0][:, None, :, None] & hidden[1][:, None, None, :])


CHANGES = {"colour": colour, "translation": translation, "cutout": cutout}
