"""Denoising models: what DDPM, EDM and flow matching share.

An image x becomes noise along a path x_t = alpha(t) x + sigma(t) epsilon, t from 0 (data) to 1
(noise). A network learns to remove the noise; with the least squared error it gives the mean

    x^ = E[x | x_t],  and  epsilon^ = (x_t - alpha x^) / sigma.

With it comes all else, once for the family. The slope of the log-density of x_t is
-epsilon^ / sigma (Tweedie's formula), and the flow dx = x^ d alpha + epsilon^ d sigma carries noise
to data and data to noise (2011.13456, sec. 4.3): so an image has a code, a sample is the image of
its noise, and the change of variables gives its density. A condition is dropped now and then in
training, for the sake of `guidance.py`.

A paper's file has its path, how t is drawn, what the network predicts, and the loss.
"""

from abc import abstractmethod
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ...checks import at_least, decay_rates
from ...conditions import KINDS, Condition, condition_of
from .. import networks
from ..ema import Averaging
from .walking import Walking

NETWORKS = {"unet": networks.DenoisingUNet, "mlp": networks.TimeMLP}


class Denoising(Averaging, Walking):
    """Base of the family.

    A subclass gives `path(t)`, `denoise(x_t, t, *condition)`, `draw_times(n)` and
    `loss(x_t, t, x, noise, *condition)`.

    Args:
        image_shape: (C, H, W), or (D,) for points.
        num_classes: K, and the class is a condition; 0: there is none, or one of another kind.
        condition: Of another kind: a `Condition`, or its plain values.
        network: "unet", for images; "mlp", for points and small images; "auto": "own" where the
            class has a `Network` of its own, "mlp" below 16 pixels a side, else "unet".
        width: Channels of the U-Net at the full side (128), or units of the MLP (256), if None.
        blocks: Residual blocks, of the U-Net at each side (2), of the MLP in all (3), if None.
        multipliers: Of the U-Net's width, one for each side.
        attention: Sides of the U-Net at which pixels attend to all others.
        heads: Of this attention.
        patch: Pixels p by p that the U-Net takes together, for costs p^2 times less; 1: each alone.
        dropout: Share of features dropped in training.
        sampler: How `sample` walks: "euler" (the same as "ddim"), "midpoint", "heun", or
            "ancestral", with fresh noise at each step.
        steps: Of `sample` and of codes; "midpoint" and "heun" call the network twice a step.
        density_steps: Of `elbo` and `log_density`, which with too few would promise too much.
        guidance: g, strength of the condition in `sample`; 1: as the model is, more: at the cost of
            diversity.
        label_dropout: Share of images whose condition is dropped in training.
        ema_decay: Decay per step of a moving average of the network, which draws; 0: none.
        lr: Adam's learning rate.
        betas: Adam's decay rates.
        warmup_steps: Over which the learning rate rises from 0; 0: it is constant.
        clip_norm: Largest norm of the gradient; 0: as it is.
        levels: Values of a pixel, of which `elbo` is the probability.
        dequantise: Train on images with a level's width of uniform noise, for the sake of `elbo`.

    Attributes:
        Network: A class of one's own, in place of those of `NETWORKS`, with their arguments.
    """

    condition_kinds = tuple(KINDS.values())
    averaged = "network"
    Network: ClassVar[type[nn.Module] | None] = None

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        condition: Condition | dict[str, Any] | None = None,
        network: Literal["auto", "own", "unet", "mlp"] = "auto",
        width: int | None = None,
        blocks: int | None = None,
        multipliers: tuple[int, ...] = (1, 2, 2, 2),
        attention: tuple[int, ...] = (16,),
        heads: int = 1,
        patch: int = 1,
        dropout: float = 0.0,
        sampler: Literal["euler", "ddim", "midpoint", "heun", "ancestral"] = "euler",
        steps: int = 50,
        guidance: float = 1.0,
        label_dropout: float = 0.1,
        ema_decay: float = 0.999,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        warmup_steps: int = 0,
        clip_norm: float = 1.0,
        levels: int = 256,
        dequantise: bool = False,
        density_steps: int = 100,
    ):
        super().__init__()
        self.save_hyperparameters()
        at_least(1, heads=heads, patch=patch, steps=steps, density_steps=density_steps)
        at_least(0, guidance=guidance, warmup_steps=warmup_steps, lr=lr)
        if blocks is not None:
            at_least(1, blocks=blocks)
        for name, share in (("dropout", dropout), ("label_dropout", label_dropout)):
            if not 0 <= share < 1:
                raise ValueError(f"{name} must be in [0, 1), got {share}")
        if not 2 <= levels <= 256:
            raise ValueError(f"levels must be in 2..256, got {levels}")
        self.image_shape = tuple(image_shape)
        self.condition = condition_of(num_classes if condition is None else condition)
        self.sampler, self.steps, self.guidance = sampler, steps, guidance
        self.label_dropout, self.ema_decay, self.clip_norm = label_dropout, ema_decay, clip_norm
        self.lr, self.betas, self.warmup_steps = lr, decay_rates(betas), warmup_steps
        self.levels, self.dequantise, self.density_steps = levels, dequantise, density_steps
        self.refuse_walks()
        unet = {
            "multipliers": tuple(multipliers),
            "attention": tuple(attention),
            "heads": heads,
            "patch": patch,
        }
        kind = self._kind(network)
        self.network = kind(
            self.image_shape,
            self.condition,
            kind.default_width if width is None else width,
            kind.default_blocks if blocks is None else blocks,
            dropout,
            **(unet if issubclass(kind, networks.DenoisingUNet) else {}),
        )
        self.average()

    def _kind(self, network: str) -> type[nn.Module]:
        """The network's class by its name."""
        if network not in ("auto", "own", *NETWORKS):
            raise ValueError(f"network must be auto, own, unet or mlp, got {network!r}")
        if network == "own" and self.Network is None:
            raise ValueError(f"network must be one of {', '.join(NETWORKS)}, got 'own'")
        if network in NETWORKS:
            return NETWORKS[network]
        small = len(self.image_shape) == 1 or min(self.image_shape[1:]) < 16
        return self.Network or NETWORKS["mlp" if small else "unet"]

    # What a paper defines, beside `path` and `denoise`

    @abstractmethod
    def draw_times(self, n: int) -> Tensor:
        """(n,) times of a training step."""

    @abstractmethod
    def loss(self, x_t: Tensor, t: Tensor, x: Tensor, noise: Tensor, *condition: Any) -> Tensor:
        """(B,) the error of the network's prediction from x_t = alpha x + sigma noise, a mean over
        pixels."""

    def predict(self, x: Tensor, c: Tensor, *condition: Any) -> Tensor:
        """The network's output in x's precision: its average's, in evaluation."""
        network = self.network if self.training else self.average_network
        dtype = next(network.parameters()).dtype
        return network(x.to(dtype), c.float(), *condition).to(x.dtype)

    # Training

    def training_step(self, batch, batch_idx) -> Tensor:
        x, *condition = self.conditioned(batch)
        t, noise = self.draw_times(len(x)), torch.randn_like(x)
        condition = [self.condition.drop(y, self.label_dropout) for y in condition]
        if self.dequantise:
            x = self.dequantised(x)
        alpha, sigma = (v.view(-1, *[1] * (x.ndim - 1)) for v in self.path(t))
        loss = self.loss(alpha * x + sigma * noise, t, x, noise, *condition).mean()
        self.log("loss/denoising", loss.detach(), prog_bar=True)
        return loss

    def configure_optimizers(self) -> Optimizer | dict[str, Any]:
        optimizer = torch.optim.Adam(self.network.parameters(), lr=self.lr, betas=self.betas)
        self.average_after(optimizer)
        if not self.warmup_steps:
            return optimizer
        rising = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min(1.0, (step + 1) / self.warmup_steps)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": rising, "interval": "step"},
        }

    def configure_gradient_clipping(
        self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None
    ) -> None:
        """The Trainer's own setting comes before `clip_norm`."""
        if gradient_clip_val is None and self.clip_norm:
            gradient_clip_val, gradient_clip_algorithm = self.clip_norm, "norm"
        self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
