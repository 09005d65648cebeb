"""What steadies a discriminator, whatever the game: for any network, beyond the lectures.

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
    """What binds a game's discriminator; numbers only, so that a mapping says it in YAML.

    Args:
        spectral_norm: Weights are divided by their largest singular values, and normalisation
            layers are taken out.
        r1: gamma of the penalty gamma/2 |gradient of the score at data|^2 (eq. 9).
        r1_every: The penalty is paid at every k-th batch, k times (StyleGAN2's lazy
            regularisation, https://arxiv.org/abs/1912.04958, sec. 3.1).
        augment: How images, real or not, are changed at random before they are seen: of
            "colour", "translation", "cutout".
        instance_noise: Standard deviation of the noise on all that is seen; 0: none.
        instance_noise_steps: Steps over which it falls to 0, along a line; 0: it stays.
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
        """What was given as a value or a mapping, and what short options say beside it.

        Raises:
            ValueError: a name that is none of these, or a value that the two give differently.
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
        """As a mapping, what stands by default left out."""
        values = ((field, getattr(self, field.name)) for field in fields(self))
        changed = {field.name: value for field, value in values if value != field.default}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in changed.items()}

    @property
    def by_chance(self) -> bool:
        """Whether images are changed at random."""
        return bool(self.augment or self.instance_noise)

    def refuse_points(self, image_shape: tuple[int, ...]) -> None:
        """Raises: ValueError: it changes images, and there are none."""
        if self.augment and len(image_shape) != 3:
            got = ", ".join(self.augment)
            raise ValueError(f"augment must be empty for points, got {got}")

    def refuse_batch_norm(self, network: nn.Module) -> None:
        """Raises: ValueError: a slope is punished, and depends on the other images."""
        for name, module in network.named_modules() if self.r1 else ():
            if isinstance(module, BATCH_NORM):
                raise ValueError(
                    "r1 must be 0 for a discriminator with batch normalisation (each image's "
                    f"slope must be its own; spectral_norm takes it out), got {module} at "
                    f"{name}"
                )

    def wrap(self, network: nn.Module) -> nn.Module:
        """The same network, bound; what is bound already stays as it is.

        To be done when a network is made, and again when it is a part of a larger one.
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

    Its slope is then at most that of its activations, 1, however it is trained. Normalisation
    layers are taken out, as they would rescale what was just bound. A kernel counts as the
    matrix (out, in h w), as in the paper; where kernels overlap a convolution can be steeper than
    that matrix. A part that is steeper by its form says how it is held back, by a method
    `limit_slope`.
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
    """The same network without normalisation layers; a layer that had left its bias to one of
    them gets it back, at 0."""
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
    """Fits the state of an older network to this one, in place; gives whether it had to.

    Older ones had heads that were not normal, or layers without the bias that a normalisation
    layer, taken out, had made up for: without any of these. Where only some are missing the file
    is not older but damaged, and nothing is made up for what it lacks.
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
    """Channels or features that a linear or convolutional layer gives."""
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels


def _reduce(layer: nn.Module, protocol: int) -> tuple:
    """Pickles a normal layer as a plain one and what makes it normal again: its own class is one
    that torch makes at run time."""
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


def unbound(network: nn.Module) -> nn.Module:
    """The same network without any of it: an encoder has nothing to be held back from."""
    for module in list(network.modules()):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")
        remove_hooks_before(module, Disturbance)
    return network


# Chance


class Disturbance:
    """In training every image is changed at random before a network sees it.

    Data and samples are changed alike, and gradients pass, so that the generator does not learn
    the changes, and few images last longer. Noise comes last: it gives data and samples, which may
    have no point in common, a common support, on which the best discriminator is not sure of all
    it sees.

    Args:
        policy: Of CHANGES.
        noise: Its standard deviation at first.

    Attributes:
        left: The share of it that is left.
    """

    def __init__(self, policy: tuple[str, ...], noise: float):
        self.policy, self.noise, self.left = policy, noise, 1.0

    def __call__(self, network: nn.Module, seen: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if not network.training:
            return None
        x, *rest = seen
        for change in self.policy:
            x = CHANGES[change](x)
        if self.noise:
            x = x + self.noise * self.left * torch.randn_like(x)
        return x, *rest


def disturbances(network: nn.Module) -> Iterator[Disturbance]:
    """Those of all parts of a network."""
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
    """To this share of what it was at first."""
    for found in disturbances(network):
        found.left = left


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
        last = side - (size + 1) // 2  # as much of it outside on the right as on the left
        first = torch.randint(-(size // 2), last + 1, (n, 1), device=x.device)
        place = torch.arange(side, device=x.device)
        hidden.append((place >= first) & (place < first + size))
    return x * ~(hidden[0][:, None, :, None] & hidden[1][:, None, None, :])


CHANGES = {"colour": colour, "translation": translation, "cutout": cutout}
