"""RBM: Training Products of Experts by Minimizing Contrastive Divergence.

Hinton, 2002. https://doi.org/10.1162/089976602760128018
Smolensky, 1986, introduced the model, as the harmonium.

Binary pixels v and binary hidden units h have no connections within a layer:

    E(v, h) = -b.v - c.h - v.W h,        p(v, h) = exp(-E(v, h)) / Z

So the units of each layer are independent given the other layer, and the hidden layer can be summed
out:

    p(v) = exp(-F(v)) / Z,        F(v) = -b.v - sum_j softplus(c_j + (v W)_j)

The likelihood's gradient is that of F on the model less that of F on the data. Drawing from the
model needs a Markov chain (Gibbs: h given v, v given h, ...). Contrastive divergence starts it at
the data and stops after k sweeps; persistent contrastive divergence goes on with the same chains
from step to step (Tieleman, 2008, https://doi.org/10.1145/1390156.1390290), which follows the
likelihood better. Here both are the gradient of F(data) - F(chain) with the chain fixed. Labels are
observed units: each class has its own row of biases, and the density is that of the image given its
label.

Z is a sum over all states of the smaller layer. If these are too many, annealed importance
sampling estimates it (Neal, 1998, https://arxiv.org/abs/physics/9803008; for RBMs Salakhutdinov
and Murray, 2008, https://doi.org/10.1145/1390156.1390266): chains move from the pixels' biases
alone, beta = 0, to the model, beta = 1, and each collects a weight w,

    f_beta(v) = exp(b.v + sum_j softplus(beta (c_j + (v W)_j)))
    E[w] = Z_1 / Z_0,        w = prod_i f_beta_i(v_i) / f_beta_i-1(v_i)

E[w] is exact, so log Z is underestimated on average and the likelihood overstated: it is neither
exact nor a bound, and is called an estimate. Its standard error covers only the modes that
the chains have found; if modes are sharp, the error of log Z may be many times as large.

Differs from the papers: the pixels' biases start at the means of the first batch; the learning rate
falls linearly to 0 over the training, as persistent chains need it; no weight decay.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot, softplus

from ...checks import at_least
from ...modes import evaluating
from ..base import GenerativeModel
from .bits import from_bits, known_bits, to_bits

ENUMERABLE = 20  # units of a layer whose states are summed one by one: a million states
BLOCK = 2**22  # numbers that are held at once while summing


class Estimate(NamedTuple):
    """log Z by annealed importance sampling, (K,) nats for each class, or (1,)."""

    value: Tensor
    error: Tensor  # standard error of the value


class RBM(GenerativeModel):
    """A restricted Boltzmann machine of binary pixels and binary hidden units.

    Args:
        image_shape: (C, H, W).
        num_classes: K, the number of classes of a class-conditional model; 0: the model is
            unconditional.
        hidden: Number of hidden units.
        gibbs_steps: Gibbs sweeps of a chain in each training step, the k of CD-k.
        chains: Number of persistent chains over all ranks, at least one for each class on each
            rank; 0: chains start at the data (contrastive divergence).
        lr: Learning rate at the start; it falls linearly to 0.
        momentum: Momentum of gradient descent.
        sweeps: Gibbs sweeps of the chain from noise to a sample.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int = 0,
        hidden: int = 500,
        gibbs_steps: int = 1,
        chains: int = 0,
        lr: float = 0.05,
        momentum: float = 0.5,
        sweeps: int = 1000,
    ):
        super().__init__()
        self.save_hyperparameters()
        if len(image_shape) != 3 or min(image_shape) < 1:
            raise ValueError(f"image_shape must be (C, H, W), got {tuple(image_shape)}")
        at_least(1, hidden=hidden, gibbs_steps=gibbs_steps, sweeps=sweeps)
        at_least(0, chains=chains)
        self.image_shape, self.num_classes = tuple(image_shape), num_classes
        self.gibbs_steps, self.sweeps = gibbs_steps, sweeps
        self.lr, self.momentum = lr, momentum
        self.pixels = math.prod(image_shape)
        self._connect(self.pixels, hidden, chains)

    def _connect(self, visible: int, hidden: int, chains: int) -> None:
        """V visible units, H hidden ones."""
        rows = max(1, self.num_classes)
        self.weight = nn.Parameter(0.01 * torch.randn(visible, hidden))
        self.visible_bias = nn.Parameter(torch.zeros(rows, visible))
        self.hidden_bias = nn.Parameter(torch.zeros(rows, hidden))
        self.register_buffer("chains", torch.randint(2, (chains, visible)).float())
        self._summed: dict[str, tuple[list[Tensor], Tensor]] = {}

    # The model

    def hidden(self, v: Tensor, y: Tensor) -> Tensor:
        """p(h = 1 | v), (B, V) to (B, H)."""
        return (self.hidden_bias[y] + v @ self.weight).sigmoid()

    def visible(self, h: Tensor, y: Tensor) -> Tensor:
        """p(v = 1 | h), (B, H) to (B, V)."""
        return (self.visible_bias[y] + h @ self.weight.T).sigmoid()

    def free_energy(self, v: Tensor, y: Tensor) -> Tensor:
        """The free energy F, (B, V) to (B,); y (B,) are rows of the biases."""
        into_hidden = self.hidden_bias[y] + v @ self.weight
        return -(v * self.visible_bias[y]).sum(1) - softplus(into_hidden).sum(1)

    @torch.no_grad()
    def gibbs(self, v: Tensor, y: Tensor, sweeps: int, known: Tensor | None = None) -> Tensor:
        """v (B, V) after `sweeps` Gibbs sweeps; units that are `known` (B, V) stay."""
        for _ in range(sweeps):
            h = torch.bernoulli(self.hidden(v, y))
            drawn = torch.bernoulli(self.visible(h, y))
            v = drawn if known is None else torch.where(known, v, drawn)
        return v

    def _rows(self, n: int, y: Tensor | None = None) -> Tensor:
        """The row of the biases of each of n images, (n,)."""
        if not self.num_classes:
            return torch.zeros(n, dtype=torch.long, device=self.device)
        if y is None:
            raise ValueError(f"y must be labels in 0..{self.num_classes - 1}, got None")
        return self.labels(n, y)

    # Training

    def on_fit_start(self) -> None:
        super().on_fit_start()
        ranks, least = self.trainer.world_size, max(1, self.num_classes)
        if (count := len(self.chains)) and (count % ranks or count // ranks < least):
            raise ValueError(
                f"chains must be a multiple of the {ranks} ranks, at least {least} on each, "
                f"got {count}"
            )

    def on_train_batch_start(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Before the first step, sets the pixels' biases to their optimum without hidden units."""
        super().on_train_batch_start(batch, batch_idx)
        if self.trainer.global_step == 0:
            bits = to_bits(batch[0], self.image_shape, type(self).__name__)
            bits = self.all_gather(bits).view(-1, self.pixels)
            chance = (bits.sum(0) + 1) / (len(bits) + 2)
            with torch.no_grad():
                self.visible_bias[:, : self.pixels] = chance.logit()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        y = self._rows(len(x), y)
        v = self.observed(x, y)
        data = self.free_energy(v, y).mean()
        model = self._persistent(y) if len(self.chains) else self._contrastive(v, y)
        self.log("free_energy", data.detach())
        loss = data - model
        self.log("loss/contrast", loss.detach(), prog_bar=True)
        return loss

    def observed(self, x: Tensor, y: Tensor) -> Tensor:
        """The visible units (B, V) of images."""
        return to_bits(x, self.image_shape, type(self).__name__)

    def _contrastive(self, v: Tensor, y: Tensor) -> Tensor:
        """The mean of F after k sweeps from the data."""
        return self.free_energy(self.gibbs(v, y, self.gibbs_steps), y).mean()

    def _persistent(self, y: Tensor) -> Tensor:
        """The mean of F over this rank's share of the chains, each moved by k sweeps.

        A chain keeps its class. All classes have equally many chains, weighted by their frequency
        in the batch.
        """
        share = len(self.chains) // self.trainer.world_size
        own = slice(self.global_rank * share, (self.global_rank + 1) * share)
        rows = torch.arange(share, device=self.device) % len(self.hidden_bias)
        moved = self.gibbs(self.chains[own], rows, self.gibbs_steps)
        # Every rank has all chains, so that a checkpoint has them, too.
        self.chains.copy_(self.all_gather(moved).view_as(self.chains))
        counts = len(self.hidden_bias)
        of_data, of_chains = (one_hot(labels, counts).sum(0) for labels in (y, rows))
        weight = of_data / len(y) / (of_chains / share)
        return (weight[rows] * self.free_energy(moved, rows)).mean()

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Logs the exact likelihood, if it can be computed."""
        if not self.tractable:
            return
        nats = -self.log_prob(*batch).mean()
        values = {"nats": nats, "bits_per_dim": nats / (self.pixels * math.log(2))}
        self.log_dict(values, prog_bar=True, batch_size=len(batch[0]), sync_dist=True)

    test_step = validation_step

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), self.lr, self.momentum)
        falling = torch.optim.lr_scheduler.LambdaLR(optimizer, self._share_left)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": falling, "interval": "step"}}

    def _share_left(self, step: int) -> float:
        """The remaining share of the training; 1 if it has no end."""
        # Not before the first step: this sets up the loader, which a resumed run has to restore.
        return 1 - step / self.trainer.estimated_stepping_batches if step else 1.0

    # The likelihood

    @property
    def tractable(self) -> bool:
        """Whether Z can be summed, and so `log_prob` computed."""
        return min(self.weight.shape) <= ENUMERABLE

    def log_weight(self, x: Tensor, y: Tensor) -> Tensor:
        """(B,) nats: log p(x) + log Z."""
        return -self.free_energy(self.observed(x, y), y)

    def log_prob(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """(B,) nats, exact.

        Raises:
            ValueError: both layers are too large to sum over the states of one.
        """
        y = self._rows(len(x), y)
        return self.log_weight(x, y) - self.log_partition()[y]

    def log_prob_ais(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """An estimate of log p(x), (B,) nats, neither exact nor a bound; more often too high."""
        y = self._rows(len(x), y)
        return self.log_weight(x, y) - self._estimated()[y]

    def _estimated(self) -> Tensor:
        return self._once("ais", lambda: self.log_partition_ais().value)

    def log_partition(self) -> Tensor:
        """log Z, exact: (K,) for each class, or (1,).

        Raises:
            ValueError: both layers are too large to sum over the states of one.
        """
        if not self.tractable:
            raise ValueError(
                f"a layer must have at most {ENUMERABLE} units for an exact likelihood, got "
                f"{' and '.join(map(str, self.weight.shape))}: log_prob_ais estimates it"
            )
        biases = self.visible_bias, self.hidden_bias
        return self._once("exact", lambda: log_sum(self.weight, *biases))

    def log_partition_ais(self, chains: int = 200, betas: int = 1000, seed: int = 0) -> Estimate:
        """log Z by `annealed_sum`, with its standard error."""
        at_least(2, chains=chains, betas=betas)
        biases = self.visible_bias, self.hidden_bias
        return annealed_sum(self.weight, *biases, chains, betas, seed)

    @torch.no_grad()
    def _once(self, name: str, compute: Callable[[], Tensor]) -> Tensor:
        """A value computed from the parameters, which is cached until they change."""
        now = list(self.parameters())
        before, value = self._summed.get(name, ([], None))
        same = value is not None and value.device == self.device
        if not (same and all(map(torch.equal, before, now))):
            value = compute()
            self._summed[name] = [p.clone() for p in now], value
        return value.to(self.dtype)

    # What it can do

    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        """Binary images, from the pixels' biases alone by `sweeps` sweeps."""
        y = self._rows(n, *self.to_draw(n, y))
        v = torch.bernoulli(self.visible_bias.detach()[y].sigmoid())
        return self._image(self.gibbs(v, y, self.sweeps))

    def complete(self, x: Tensor, mask: Tensor, y: Tensor | None = None) -> Tensor:
        """Draws the pixels where the mask (B, 1, H, W) is 0, by a chain in which the others stay.

        The result is a draw from p(rest | known), up to the mixing of `sweeps` sweeps.
        """
        x, mask = x.to(self.device, self.dtype), mask.to(self.device)
        bits, given = known_bits(x, mask, self.image_shape, type(self).__name__)
        rows = self._rows(len(x), *self.to_draw(len(x), y))
        v = torch.bernoulli(self.visible_bias.detach()[rows].sigmoid())
        known = torch.zeros_like(v, dtype=torch.bool)
        known[:, : self.pixels] = given
        v[:, : self.pixels] = torch.where(given, bits, v[:, : self.pixels])
        return self._image(self.gibbs(v, rows, self.sweeps, known))

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """p(h = 1 | x), (B, H)."""
        y = self._rows(len(x), y)
        with evaluating(self):
            return self.hidden(self.observed(x, y), y)

    def filters(self) -> Tensor:
        """The weights between each hidden unit and the pixels, (H, C, H, W)."""
        return self.weight.detach()[: self.pixels].T.unflatten(1, self.image_shape)

    def _image(self, v: Tensor) -> Tensor:
        return from_bits(v[:, : self.pixels], self.image_shape)


@torch.no_grad()
def log_sum(weight: Tensor, near: Tensor, far: Tensor) -> Tensor:
    """log of the sum of exp(-E) over all states of two layers; the smaller is enumerated.

    >>> zero = torch.zeros(3, 2)
    >>> log_sum(zero, zero[:1, :1].expand(1, 3), zero[:1])  # log of 2^5 states
    tensor([3.4657], dtype=torch.float64)

    Args:
        weight: (V, H).
        near, far: The biases of V and H, a row for each of K sums: (K, V) and (K, H).

    Returns:
        (K,) nats, float64.
    """
    if weight.shape[0] > weight.shape[1]:
        weight, near, far = weight.T, far, near
    weight, near, far = weight.double(), near.double(), far.double()
    places = torch.arange(len(weight), device=weight.device)
    states = torch.arange(2 ** len(weight), device=weight.device)
    sums = []
    for some in states.split(max(1, BLOCK // far.numel())):
        s = (some[:, None] >> places & 1).double()  # (S, V)
        summed_out = softplus((s @ weight)[:, None] + far).sum(-1)  # (S, K)
        sums.append((s @ near.T + summed_out).logsumexp(0))
    return torch.stack(sums).logsumexp(0)


@torch.no_grad()
def annealed_sum(
    weight: Tensor, near: Tensor, far: Tensor, chains: int, betas: int, seed: int
) -> Estimate:
    """The same sum by annealed importance sampling (Neal, 2001), with its standard error.

    Args:
        weight: (V, H).
        near, far: The biases of V and H, as for `log_sum`.
        chains: Number of chains for each of the K sums.
        betas: Number of intermediate distributions, both ends included.
        seed: Seed of the noise, which is separate, so that a model has one value.
    """
    noise = torch.Generator(weight.device).manual_seed(seed)
    y = torch.arange(len(far), device=weight.device).repeat_interleave(chains)
    b, c = near[y], far[y]

    def draw(logits: Tensor) -> Tensor:
        return torch.bernoulli(logits.sigmoid(), generator=noise)

    v = draw(b)
    log_w = torch.zeros(len(y), dtype=torch.double, device=weight.device)
    ladder = torch.linspace(0, 1, betas, device=weight.device).tolist()
    for before, beta in zip(ladder, ladder[1:], strict=False):
        into_hidden = c + v @ weight
        change = softplus(beta * into_hidden) - softplus(before * into_hidden)
        log_w += change.sum(1)
        h = draw(beta * into_hidden)
        v = draw(b + beta * (h @ weight.T))
    log_w = log_w.view(-1, chains)
    start = softplus(near.double()).sum(1) + weight.shape[1] * math.log(2)
    value = start + log_w.logsumexp(1) - math.log(chains)
    share = (log_w - log_w.amax(1, keepdim=True)).exp()
    error = share.std(1) / share.mean(1) / math.sqrt(chains)
    return Estimate(value, error)
