"""An encoder for a generator that stands still: asked for the image, not for the latent."""

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from genzoo.datamodules import Digits
from genzoo.protocols import Decoder, Encoder, Interpolator, Sampler
from genzoo.zoo import AEGAN
from tests.helpers.digits import classes, digits
from tests.helpers.tiny import Tiny
from tests.helpers.training import bits, fit, loader

TINY = Tiny(
    AEGAN,
    {"latent_dim": 3, "width": 16},
    {Sampler, Decoder, Interpolator, Encoder},
    own_rates={"encoder": 0.001},
)


BATCH = bits(6), torch.arange(6) % 3


def tiny(**settings) -> AEGAN:
    return AEGAN((1, 8, 8), **{"latent_dim": 3, "width": 16, "gan_steps": 4, **settings})


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_the_gan_moves_until_it_is_done_and_the_encoder_always(ema):
    """Statistics of its batch normalisation are part of it."""
    states, phases = [], []

    class Watched(AEGAN):
        def on_train_batch_start(self, batch, batch_idx):
            super().on_train_batch_start(batch, batch_idx)
            states.append({name: part.clone() for name, part in self.state_dict().items()})
            phases.append(states[-1].pop("phase").item())

    model = Watched((1, 8, 8), latent_dim=3, width=16, gan_steps=4, ema_decay=ema)
    fit(model, loader(bits(80)), steps=8)
    states.append(model.state_dict())
    moved = [
        {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
        for before, after in zip(states, states[1:], strict=False)
    ]
    gan = {"generator", "discriminator"} | ({"ema"} if ema else set())
    assert moved == 4 * [gan | {"encoder"}] + 4 * [{"encoder"}]
    assert phases == 4 * [0] + 4 * [1]


def test_losses_are_of_the_generator_as_it_decodes():
    for space in ("image", "latent"):
        model = tiny(num_classes=3, loss_space=space, ema_decay=0.9)
        model.generator.requires_grad_(False).body[0].weight.mul_(2)  # the average does not know
        z = model.prior(6)
        model.prior = lambda n, z=z: z
        y = BATCH[1]
        image = model.decode(z, y)
        code = model.encode(image, y)
        apart = {"image": model.decode(code, y) - image, "latent": code - z}[space]
        assert model.encoder_loss(BATCH).item() == pytest.approx(apart.square().mean().item())
        model.encoder_loss(BATCH).backward()
        reached = {n.split(".")[0] for n, p in model.named_parameters() if p.grad is not None}
        assert reached == {"encoder"}
        assert model.generator.training and model.ema.module.training


def test_codes_lie_where_latents_do():
    model = tiny()
    nn.init.constant_(model.encoder.body.heads["code"].bias, 100.0)
    torch.testing.assert_close(model.encode(bits(2)), torch.ones(2, 3))


def test_a_search_finds_codes_in_the_order_of_their_distance():
    model = tiny(latent_dim=1)
    model.code = lambda x: x.flatten(1)[:, :1]
    gallery = torch.tensor([0.0, 0.9, 0.3, -0.7]).view(4, 1, 1, 1).expand(4, 1, 8, 8)
    query = torch.tensor([0.2, -1.0]).view(2, 1, 1, 1).expand(2, 1, 8, 8)
    assert model.search(query, gallery, k=3).tolist() == [[2, 0, 1], [3, 0, 2]]
    for k in (0, 5):
        with pytest.raises(ValueError, match=rf"k must be in 1\.\.4 images .*, got {k}"):
            model.search(query, gallery, k)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"gan_steps": 0}, "gan_steps must be at least 1, got 0"),
        ({"loss_space": "code"}, "loss_space must be 'image' or 'latent', got 'code'"),
    ],
)
def test_impossible_settings_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        tiny(**setting)


class Square(nn.Module):
    """z and -z to the same point."""

    def forward(self, z):
        return z.square()


@pytest.mark.claim
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_mean_of_all_latents_of_an_image_is_none_of_them(seed, measured):
    """G(z) = z^2: regression answers 0 and costs E z^4 = 1/5; asked for the image it is found."""
    torch.manual_seed(seed)
    cost = {}
    for space in ("image", "latent"):
        model = AEGAN((1,), latent_dim=1, width=32, loss_space=space, encoder_lr=3e-3)
        model.generator = Square()
        optimizer = model.optimizer(model.players()[-1])
        for _ in range(400):
            optimizer.zero_grad()
            model.encoder_loss((torch.empty(128, 1), None)).backward()
            optimizer.step()
        x = model.prior(4000).square()
        cost[space] = (model.reconstruct(x) - x).square().mean().item()
    measured("squared error, asked for the image", cost["image"], below=0.002)
    measured("by regression on latents (1/5 is its best)", cost["latent"], near=0.2, within=0.02)


@pytest.mark.claim
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_an_image_is_found_better_by_images_than_by_latents(seed, measured):
    """The same GAN to the bit, then either loss: on unseen samples and on real digits."""
    x, y, unseen, labels = digits()
    found, generators = {}, []
    for space in ("image", "latent"):
        torch.manual_seed(seed)
        model = AEGAN((1, 8, 8), latent_dim=16, lr=5e-4, gan_steps=STEPS, loss_space=space)
        fit(model, Digits(batch_size=128), steps=2 * STEPS, limit_val_batches=0)
        torch.manual_seed(seed)
        z = model.prior(2000)
        image = model.decode(z)
        again = model.reconstruct(unseen)
        near = KNeighborsClassifier(1).fit(model.encode(x), y)
        found[space] = (
            (model.reconstruct(image) - image).square().mean().item(),
            (again - unseen).square().mean().item(),
            (classes(again) == labels).float().mean().item(),
            (model.encode(image) - z).square().mean().item(),
            near.score(model.encode(unseen), labels),
        )
        generators.append(image)
    assert torch.equal(*generators)
    (drawn, real, same, latent, near), regression = found["image"], found["latent"]
    measured("8x8: squared error of samples, by regression on latents", regression[0])
    measured("8x8: squared error of samples", drawn, below=0.8 * regression[0])
    measured("8x8: squared error of unseen digits, by regression on latents", regression[1])
    measured("8x8: squared error of unseen digits", real, below=0.85 * regression[1])
    measured("8x8: digits that come back as themselves, by regression on latents", regression[2])
    measured("8x8: digits that come back as themselves", same, above=regression[2] + 0.05)
    measured("8x8: squared error of latents, by regression on them", regression[3])
    measured("8x8: squared error of latents", latent, above=regression[3])
    measured("8x8: 1-NN on codes, by regression on latents", regression[4])
    measured("8x8: 1-NN on codes", near)


STEPS = 1500


def test_a_conditional_model_searches_by_labels():
    model = tiny(num_classes=3)
    gallery, y = torch.rand(9, 1, 8, 8) * 2 - 1, torch.arange(9) % 3
    found = model.search(gallery[:4], gallery, 2, y[:4], y)
    assert found.shape == (4, 2) and found[:, 0].tolist() == [0, 1, 2, 3]
    codes = model.encode(gallery, y)
    apart = torch.cdist(codes[:4], codes)
    assert torch.equal(found, apart.topk(2, largest=False).indices)
    with pytest.raises(ValueError, match=r"y must be \(4,\) integers, got None"):
        model.search(gallery[:4], gallery)
    with pytest.raises(ValueError, match=r"gallery_y must be \(9,\) integers, got None"):
        model.search(gallery[:4], gallery, y=y[:4])
    with pytest.raises(ValueError, match="y must be None: this AEGAN is unconditional"):
        tiny().search(gallery[:4], gallery, y=y[:4])
