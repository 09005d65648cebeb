"""The discriminator is the support vector machine of its features."""

import numpy as np
import pytest
import torch
from torch import nn

from genzoo.datamodules import Digits
from genzoo.protocols import Decoder, Interpolator, Sampler
from genzoo.zoo import GeometricGAN
from genzoo.zoo.gan.gan import non_saturating
from genzoo.zoo.gan.geometric_gan import hinge
from tests.helpers.tiny import Tiny

TINY = Tiny(
    GeometricGAN,
    {"latent_dim": 4, "width": 16},
    {Sampler, Decoder, Interpolator},
    last_bias_moves=False,  # nothing to a hinge while all scores lie within the margin
)


def test_losses_by_hand():
    real, fake = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-2.0, -0.5, 1.0])
    assert hinge.discriminator(real, fake).item() == pytest.approx(2 * (0 + 0.5 + 2) / 3)
    assert hinge.generator(fake).item() == pytest.approx(0.5)


class Linear(nn.Module):
    """Fixed features, a hyperplane on top."""

    def __init__(self, image_shape, num_classes, width):
        super().__init__()
        self.plane = nn.Linear(image_shape[0], 1)

    def forward(self, x):
        return self.plane(x).squeeze(1)


class OnFeatures(GeometricGAN):
    Discriminator = Linear


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_its_optimum_is_the_linear_support_vector_machine(seed, measured):
    """On random features of threes and eights, against scikit-learn's solver."""
    from sklearn.svm import SVC

    torch.manual_seed(seed)
    train = Digits().split("train")
    features = torch.relu(train.images.flatten(1).double() / 255 @ torch.randn(64, 40).double())
    real, fake = (features[train.labels == digit][:100] for digit in (3, 8))
    c = 0.01
    # The paper's C multiplies a sum over n; a mean over n with |w|^2 / (2 C n) is the same.
    model = OnFeatures((40,), svm_c=c).double()
    optimiser = torch.optim.Adam(model.discriminator.parameters(), lr=0.02)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.998)
    for _ in range(4000):
        scores = model.discriminator(real), model.discriminator(fake)
        cost = model.loss.discriminator(*scores) + model.penalty((real,), (fake,))
        optimiser.zero_grad()
        cost.backward()
        optimiser.step()
        schedule.step()
    x, y = torch.cat((real, fake)).numpy(), np.repeat([1, -1], 100)
    machine = SVC(kernel="linear", C=c, tol=1e-8).fit(x, y)
    margins = np.maximum(0, 1 - y * machine.decision_function(x)).sum()
    best = 0.5 * (machine.coef_**2).sum() + c * margins
    found = cost.item() * c * len(real)
    w, _ = model.hyperplane()
    cosine = np.dot(w[0].detach().numpy(), machine.coef_[0]) / (
        np.linalg.norm(w.detach()) * np.linalg.norm(machine.coef_)
    )
    measured("objective over that of scikit-learn's solver", found / best, near=1, within=0.01)
    measured("cosine of the two hyperplanes", cosine, above=0.99)


def test_all_samples_move_along_the_normal_alike():
    """Where cross-entropy moves those that are far behind the boundary most."""
    model = OnFeatures((5,))
    features = torch.randn(7, 5, requires_grad=True)
    w, _ = model.hyperplane()
    hinge.generator(model.discriminator(features)).backward()
    assert torch.allclose(features.grad, (-w / 7).expand(7, 5))
    features.grad = None
    non_saturating.generator(model.discriminator(features)).backward()
    assert features.grad.norm(dim=1).std() > 1e-3


def test_support_vectors_are_those_in_the_margin():
    model = OnFeatures((2,))
    with torch.no_grad():
        model.discriminator.plane.weight.copy_(torch.tensor([[1.0, 0.0]]))
        model.discriminator.plane.bias.zero_()
    model.fake = lambda z, *y: (torch.tensor([[-2.0, 0.0], [-0.5, 0.0]]),)
    real = torch.tensor([[2.0, 0.0], [3.0, 0.0]])
    assert model.support_fraction(real).item() == pytest.approx(0.25)
    with pytest.raises(ValueError, match="svm_c must be positive, got 0"):
        OnFeatures((2,), svm_c=0)
