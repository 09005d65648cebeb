"""Codes of few numbers, and the Gaussians that are fitted to them."""

import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy
from sklearn.neighbors import KNeighborsClassifier

from genzoo.datamodules import Digits
from genzoo.images import from_uint8
from genzoo.protocols import Decoder, Encoder, Interpolator, Sampler
from genzoo.zoo.variational import Autoencoder, autoencoder
from genzoo.zoo.variational.autoencoder import CodeGaussian
from tests.helpers.tiny import Tiny
from tests.helpers.training import bits, loader, trainer

TINY = Tiny(
    Autoencoder,
    {"latent_dim": 3, "width": 64},
    {Sampler, Decoder, Interpolator, Encoder},
    draws_noise=False,
)


def codes(n: int, y: torch.Tensor | None = None) -> torch.Tensor:
    """Correlated codes (n, 3), elsewhere for each class, far from the origin."""
    turn = torch.tensor([[1.0, 0.9, 0.0], [0.0, 0.5, 0.3], [0.0, 0.0, 2.0]]).double()
    z = torch.randn(n, 3).double() @ turn + 100
    return z if y is None else z * (1 + y[:, None])


def describes(law: CodeGaussian, group: int, z: torch.Tensor, tolerance: float = 1e-9) -> bool:
    """Whether a class's moments are those of codes z (n, 3)."""
    moments = (law.mean[group], z.mean(0)), (law.covariance[group], z.T.cov(correction=0))
    return all(torch.allclose(*pair, rtol=tolerance, atol=tolerance) for pair in moments)


def test_moments_run_as_if_all_codes_were_there(monkeypatch):
    monkeypatch.setattr(autoencoder, "MEMORY", 1e18)
    z, law = codes(500), CodeGaussian(3).double()
    for part in z.split([1, 2, 97, 400]):
        law.remember(part)
    assert describes(law, 0, z)


def test_each_class_has_its_own_moments(monkeypatch):
    monkeypatch.setattr(autoencoder, "MEMORY", 1e18)
    y = torch.randint(-1, 3, (500,))
    y[:100] = 2  # batches in which a class is missing
    z, law = codes(500, y), CodeGaussian(3, num_classes=4).double()
    for part, label in zip(z.split(50), y.split(50), strict=True):
        law.remember(part, label)
    for group in range(3):
        assert describes(law, group, z[y == group])
    assert law.weight.tolist() == [*(float((y == k).sum()) for k in range(3)), 0]
    assert torch.equal(law.mean[3], torch.zeros(3).double())  # never seen: as at the start
    assert torch.equal(law.covariance[3], torch.eye(3).double())


def test_old_codes_are_forgotten_but_not_rare_classes(monkeypatch):
    monkeypatch.setattr(autoencoder, "MEMORY", 200)
    law = CodeGaussian(3, num_classes=2).double()
    rare = codes(20)
    law.remember(torch.cat((rare, -codes(200))), torch.tensor([1] * 20 + [0] * 200))
    latest = codes(4000)
    for part in latest.split(50):
        law.remember(part, torch.zeros(50, dtype=torch.long))
    assert describes(law, 1, rare)
    assert describes(law, 0, latest[-1000:], tolerance=0.35)  # the codes at -100 are gone
    assert law.weight[0].item() == pytest.approx(200, rel=0.15)


def test_codes_are_drawn_with_their_covariance():
    law, z = CodeGaussian(3, num_classes=2).double(), codes(400)
    law.remember(z, torch.ones(400, dtype=torch.long))
    drawn = law.draw(torch.ones(200_000, dtype=torch.long))
    torch.testing.assert_close(drawn.mean(0), z.mean(0), atol=0.02, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), z.T.cov(correction=0), atol=0.03, rtol=0.02)
    few = CodeGaussian(3).double()
    few.remember(z[:2])  # less than full rank: all codes on one line
    line = torch.nn.functional.normalize(z[1] - z[0], dim=0)
    off = few.draw(torch.zeros(50, dtype=torch.long)) - z[:2].mean(0)
    assert (off - (off @ line)[:, None] * line).abs().max() < 1e-6 < off.abs().max()


@pytest.mark.parametrize("y", [None, torch.tensor([0, 3])])
def test_classes_need_labels(y):
    with pytest.raises(ValueError, match=r"y must be labels below 3 \(-1: unlabelled\), got"):
        CodeGaussian(4, num_classes=3).remember(torch.zeros(2, 4), y)


def test_a_code_has_at_least_one_number():
    with pytest.raises(ValueError, match="latent_dim must be at least 1, got 0"):
        Autoencoder((1, 8, 8), latent_dim=0)


def test_samples_are_of_the_class_asked_for():
    """Dark and light images: the class's Gaussian holds codes of the one or the other."""
    y = torch.arange(64) % 2
    x = 0.3 * torch.rand(64, 1, 8, 8) + (y * 1.4 - 0.8).view(-1, 1, 1, 1)
    model = Autoencoder((1, 8, 8), num_classes=2, latent_dim=2, width=16, lr=1e-2)
    trainer(max_epochs=30).fit(model, loader(x, num_classes=2))
    dark, light = (model.sample(20, torch.full((20,), label)).mean((1, 2, 3)) for label in (0, 1))
    assert (dark < -0.3).all() and (light > 0.3).all()
    mixed = model.sample(200).mean((1, 2, 3)) > 0
    assert 60 < mixed.sum() < 140


class Still(Autoencoder):
    """Learns nothing but the codes' Gaussian, and counts the epochs after which it was right on
    both ranks."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.register_buffer("checked", torch.zeros(1))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)

    def on_train_epoch_end(self):
        for buffer in self.codes.buffers():
            ranks = [torch.empty_like(buffer) for _ in range(2)]
            torch.distributed.all_gather(ranks, buffer)
            assert torch.equal(*ranks)
        every = self.encode(bits(32).repeat_interleave(8, dim=3)[..., :8])
        torch.testing.assert_close(self.codes.mean[0], every.mean(0), atol=1e-3, rtol=0.01)
        cov = every.T.cov(correction=0)
        torch.testing.assert_close(self.codes.covariance[0], cov, atol=1e-4, rtol=0.02)
        assert self.codes.weight.item() == pytest.approx(32, rel=0.01)
        self.checked += 1


def test_ranks_hold_the_gaussian_of_all_codes():
    model = Still((1, 8, 8), latent_dim=3, width=16)
    ddp = DDPStrategy(start_method="fork", process_group_backend="gloo")
    images = bits(32).repeat_interleave(8, dim=3)[..., :8]
    trainer(devices=2, strategy=ddp, max_epochs=1).fit(model, loader(images, batch_size=4))
    assert model.checked.item() == 1  # in there, on both of them


def test_a_resumed_training_goes_on_with_the_gaussian(tmp_path):
    def run(epochs, path=None):
        torch.manual_seed(0)
        model = Autoencoder((1, 8, 8), num_classes=3, latent_dim=3, width=16)
        runner = trainer(max_epochs=epochs)
        runner.fit(model, loader(bits(24)), ckpt_path=path, weights_only=True)
        runner.save_checkpoint(tmp_path / f"{epochs}.ckpt")
        return model.state_dict()

    unbroken = run(4)
    run(2)
    resumed = run(4, tmp_path / "2.ckpt")
    assert unbroken["codes.weight"].sum() > 90
    assert all(torch.equal(resumed[name], unbroken[name]) for name in unbroken)


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_two_numbers_say_more_than_two_principal_components(seed, measured):
    """Of unseen digits: at most 0.75 of PCA's error, and a neighbour's class is right more often.

    The code is as large, two numbers; PCA is fitted to the same images.
    """
    torch.manual_seed(seed)
    data = Digits(batch_size=64, seed=seed)
    train, test = data.split("train"), data.split("test")
    x, unseen = from_uint8(train.images), from_uint8(test.images)
    model = Autoencoder((1, 8, 8), latent_dim=2, width=256, lr=3e-3)
    trainer(max_epochs=50, limit_val_batches=0).fit(model, data)
    mean = x.flatten(1).mean(0)
    _, _, directions = torch.linalg.svd(x.flatten(1) - mean, full_matrices=False)

    def components(x):
        return (x.flatten(1) - mean) @ directions[:2].T

    again = (components(unseen) @ directions[:2] + mean).view_as(unseen)
    error = model.error(unseen, model.reconstruct(unseen)).mean().item()
    linear = model.error(unseen, again).mean().item()

    def right(codes):
        near = KNeighborsClassifier(10).fit(codes(x), train.labels)
        return near.score(codes(unseen), test.labels)

    found, known = right(model.encode), right(components)
    measured("error on unseen digits, over that of PCA", error / linear, below=0.75)
    measured("neighbours of the same class, by PCA", known)
    measured("neighbours of the same class", found, above=known + 0.1)
