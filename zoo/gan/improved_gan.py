"""ImprovedGAN: Improved Techniques for Training GANs.

Salimans, Goodfellow, Zaremba, Cheung, Radford and Chen, 2016. https://arxiv.org/abs/1606.03498

Gradient descent seeks a minimum of each player's cost, not an equilibrium of both. Five techniques
help it there, each a switch of its own:

* Feature matching (sec. 3.1). The generator is not to outwit the discriminator but to match what
  it looks at, its last hidden layer f:  L_G = |E_x[f(x)] - E_z[f(G(z))]|^2.
* Minibatch discrimination (sec. 3.2). A discriminator that sees images one by one does not notice
  that all are the same; this one is given, with each image, how close the batch's others come.
* Historical averaging (sec. 3.3). Each player also pays lambda |theta - mean of past theta|^2:
  on the game of cost xy, where gradient descent goes round the equilibrium for ever, it arrives.
* One-sided label smoothing (sec. 3.4). The target of data is 1 - eps, that of samples stays 0, so
  that the best answer is D(x) = (1 - eps) p(x) / (p(x) + q(x)); a smoothed target of samples would
  put q into the numerator, and hold them where p = 0.
* Virtual batch normalisation (sec. 3.5). The generator's statistics are those of a batch of
  latents chosen once, so that no sample depends on the others of its batch.

Sec. 5, a discriminator that learns from a few labels, is `conditional/semi_supervised_gan.py`.

Differs from the paper: networks as `GAN` or as `network` says, without noise or weight
normalisation in the discriminator.
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from ...checks import at_least
from ..adversarial import Batch, Player
from ..networks import Heads
from ..networks.minibatch import MinibatchDiscrimination, WithReference
from .gan import GAN


def smoothed_cross_entropy(real: Tensor, fake: Tensor, smoothing: float) -> Tensor:
    """-E[(1 - eps) log D(x) + eps log(1 - D(x))] - E[log(1 - D(G(z)))]: data only are smoothed."""
    of_real = torch.lerp(softplus(-real), softplus(real), smoothing)
    return of_real.mean() + softplus(fake).mean()


def feature_distance(real: Tensor, fake: Tensor) -> Tensor:
    """|E[f(x)] - E[f(G(z))]|^2 of features (B, F)."""
    return (real.mean(0) - fake.mean(0)).square().sum()


class ImprovedGAN(GAN):
    """A GAN with five techniques, each a switch.

    Args:
        feature_matching: The generator matches mean features instead of ascending log D.
        minibatch_kernels: Closenesses to the rest of the batch that the discriminator is given;
            0: none.
        kernel_dims: Entries of the features of which a closeness is made.
        historical_weight: The paper's lambda; 0: no averaging.
        label_smoothing: The target of data is 1 minus this; 0: 1.
        virtual_batch_norm: Latents in the reference batch of the generator; 0: ordinary batch
            normalisation.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        feature_matching: bool = False,
        minibatch_kernels: int = 100,
        kernel_dims: int = 5,
        historical_weight: float = 0.0,
        label_smoothing: float = 0.1,
        virtual_batch_norm: int = 0,
        **kwargs,
    ):
        super().__init__(image_shape, num_classes, **kwargs)
        at_least(0, minibatch_kernels=minibatch_kernels, virtual_batch_norm=virtual_batch_norm)
        at_least(0, historical_weight=historical_weight)
        if feature_matching and kwargs.get("saturating"):
            raise ValueError("saturating must be False: with feature_matching no score is paid for")
        if not 0 <= label_smoothing < 0.5:
            raise ValueError(f"label_smoothing must be in [0, 0.5), got {label_smoothing}")
        self.feature_matching, self.historical_weight = feature_matching, historical_weight
        smoothed = partial(smoothed_cross_entropy, smoothing=label_smoothing)
        self.loss = self.loss._replace(discriminator=smoothed)
        self.discriminator = Heads(self.discriminator)
        if minibatch_kernels:
            features = self.discriminator.num_features
            self.discriminator.heads["score"] = nn.Sequential(
                MinibatchDiscrimination(features, minibatch_kernels, kernel_dims),
                nn.Linear(features + minibatch_kernels, 1),
            )
        self.regularisation.wrap(self.discriminator)
        if virtual_batch_norm:
            reference = self.prior(virtual_batch_norm)
            self.generator = WithReference(self.generator, reference, num_classes)
            self.average_generator()
        if historical_weight:
            self.history = nn.ModuleDict(
                {
                    "generator": AveragedModel(self.generator),
                    "discriminator": AveragedModel(self.discriminator),
                }
            ).requires_grad_(False)

    def optimizer(self, player: Player) -> Optimizer:
        optimizer = super().optimizer(player)
        if self.historical_weight:
            (module,), past = player.modules, self.history[player.name]
            optimizer.register_step_post_hook(lambda *_: past.update_parameters(module))
        return optimizer

    def penalty(self, real: tuple[Tensor, ...], fake: tuple[Tensor, ...]) -> Tensor | float:
        return self.departure("discriminator")

    def generator_loss(self, batch: Batch) -> Tensor:
        if not self.feature_matching:
            return super().generator_loss(batch) + self.departure("generator")
        x, *condition = self.conditioned(batch)
        pairs = self.real(x, *condition), self.fake(self.prior(len(x)), *condition)
        matched = feature_distance(*(self.discriminator.features(*images) for images in pairs))
        return matched + self.departure("generator")

    def departure(self, player: str) -> Tensor | float:
        """lambda |theta - mean of past theta|^2 of one player's parameters."""
        if not self.historical_weight:
            return 0.0
        pairs = zip(
            getattr(self, player).parameters(), self.history[player].parameters(), strict=True
        )
        return self.historical_weight * sum((now - past).square().sum() for now, past in pairs)
