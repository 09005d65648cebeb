"""ImprovedGAN: Improved Techniques for Training GANs.

Salimans, Goodfellow, Zaremba, Cheung, Radford and Chen, 2016. https://arxiv.org/abs/1606.03498

Gradient descent finds a minimum of each player's loss, not an equilibrium of both. Five techniques,
each with its own argument, improve the convergence to an equilibrium:

* Feature matching (sec. 3.1). The generator matches mean features of the discriminator's last
  hidden layer f:  L_G = |E_x[f(x)] - E_z[f(G(z))]|^2.
* Minibatch discrimination (sec. 3.2). A discriminator of single images cannot detect that all
  samples are the same; this one also gets, for each image, closenesses to the others of the batch.
* Historical averaging (sec. 3.3). Each loss has a term lambda |theta - mean of past theta|^2: in
  the game of cost xy gradient descent circles around the equilibrium, and with this term it
  converges.
* One-sided label smoothing (sec. 3.4). The target of data is 1 - eps, that of samples stays 0, so
  that the optimal discriminator is D(x) = (1 - eps) p(x) / (p(x) + q(x)); a smoothed target of
  samples would add q to the numerator, and samples with p = 0 would have no reason to move.
* Virtual batch normalisation (sec. 3.5). The statistics are those of a reference batch of
  latents that is chosen once, so that no sample depends on the others of its batch.

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
    """A GAN with five techniques, each with its own argument.

    Args:
        feature_matching: Whether the generator matches mean features instead of ascending log D.
        minibatch_kernels: Number of closenesses to the other images of the batch that the
            discriminator gets; 0: none.
        kernel_dims: Entries of the vectors whose distance gives a closeness.
        historical_weight: The paper's lambda, the weight of historical averaging; 0: none.
        label_smoothing: eps: the target of data is 1 - eps; 0: no smoothing.
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
