"""A game in a bare loop: less overhead than a Trainer, and whose parameters a turn moves."""

from collections.abc import Callable

import torch
from torch import Tensor

from genzoo.zoo import GAN
from genzoo.zoo.adversarial import Adversarial, Batch


def play(model: GAN, draw: Callable[[int], Tensor], steps: int, batch_size: int = 64) -> GAN:
    """So many turns of both players of an unconditional model, on data that `draw(n)` gives."""
    optimizers = [
        torch.optim.Adam(network.parameters(), model.lr, betas=model.betas)
        for network in (model.discriminator, model.generator)
    ]
    losses = (model.discriminator_loss, model.generator_loss)
    for _ in range(steps):
        batch = draw(batch_size), None
        for optimizer, loss in zip(optimizers, losses, strict=True):
            optimizer.zero_grad()
            loss(batch).backward()
            optimizer.step()
    return model


def among(x: Tensor) -> Callable[[int], Tensor]:
    """Draws of these images, with replacement."""
    return lambda n: x[torch.randint(len(x), (n,))]


def moved_by_each(model: Adversarial, batch: Batch) -> dict[str, set[str]]:
    """The model's parts that one step of each player changes, by its name, in order."""
    moved = {}
    for player in model.players():
        before = {name: p.clone() for name, p in model.named_parameters()}
        model.zero_grad()
        optimizer = model.optimizer(player)
        player.loss(batch).backward()
        optimizer.step()
        changed = (name for name, p in model.named_parameters() if (p != before[name]).any())
        moved[player.name] = {name.split(".")[0] for name in changed}
    return moved
