"""Parallel lines: data on {0} x [0, 1], samples on {theta} x [0, 1] (1701.07875, example 1)."""

import torch

from tests.helpers.training import loader, trainer

THETAS = (0.25, 0.5, 1.0, 2.0, 4.0)


def on_lines(model_class: type, theta: float, steps: int = 400, **settings):
    """The model, its critic trained; and the slope of the generator's loss in theta."""

    class Parallel(model_class):
        theta = torch.tensor(0.0)

        def fake(self, z, *condition):
            return (torch.stack((self.theta.expand(len(z)), torch.rand(len(z))), dim=1),)

    model = Parallel((2,), width=64, d_steps=10**6, **settings)
    model.theta = torch.tensor(theta)
    height = torch.rand(256 * steps, 1)
    trainer(max_epochs=1).fit(
        model, loader(torch.cat((torch.zeros_like(height), height), 1), batch_size=256)
    )
    model.theta = torch.tensor(theta, requires_grad=True)
    loss = model.generator_loss((torch.zeros(1000, 2), None))
    (slope,) = torch.autograd.grad(loss, model.theta)
    model.theta = model.theta.detach()
    return model, slope.item()


def data(n: int) -> torch.Tensor:
    return torch.stack((torch.zeros(n), torch.rand(n)), dim=1)
