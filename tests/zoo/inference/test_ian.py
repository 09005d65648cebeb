"""Orthogonality, three kinds and a brush by hand; the trunk learns to discriminate and no more."""

import math

import pytest
import torch
from torch import nn

from genzoo.datamodules import Digits
from genzoo.protocols import Decoder, Encoder, Interpolator, Sampler
from genzoo.zoo import IAN
from genzoo.zoo.adversarial import Player
from genzoo.zoo.inference.ian import blur, disorder, pass_for_data, tell_apart
from tests.helpers.digits import classes, digits, distance
from tests.helpers.tiny import Tiny
from tests.helpers.training import bits, fit

TINY = Tiny(
    IAN,
    {"latent_dim": 3, "width": 16, "head_width": 8},
    {Sampler, Decoder, Interpolator, Encoder},
    variant={"network": "residual", "width": 4},
)


BATCH = bits(6), torch.arange(6) % 3


def tiny(**settings) -> IAN:
    return IAN((1, 8, 8), latent_dim=3, width=16, head_width=8, **settings)


def test_an_orthogonal_matrix_is_in_order_and_what_another_costs():
    square, flat, tall = nn.Linear(6, 6), nn.Linear(6, 3), nn.Linear(3, 6)
    for layer in (square, flat, tall):
        nn.init.orthogonal_(layer.weight)
        assert disorder(layer).item() == pytest.approx(0, abs=1e-5)
    kernel = nn.Conv2d(2, 3, 3)
    nn.init.orthogonal_(kernel.weight)
    assert disorder(kernel).item() == pytest.approx(0, abs=1e-5)
    square.weight.data = 2 * torch.eye(6)
    square.weight.data[0, 1] = 1
    # W W^T - I: 4 more in one entry of the diagonal, 3 in six of them, 2 in two others.
    assert disorder(nn.Sequential(square, tall)).item() == pytest.approx(1 + 6 * 3 + 2 * 2)


def test_three_kinds_by_hand():
    undecided = torch.zeros(4, 3)
    assert tell_apart(undecided, undecided, undecided).item() == pytest.approx(3 * math.log(3))
    assert pass_for_data(undecided).item() == pytest.approx(math.log(3))
    sure = 50 * torch.eye(3)
    right = [sure[kind].expand(4, 3) for kind in range(3)]  # data, reconstruction, sample
    assert tell_apart(*right).item() == pytest.approx(0, abs=1e-6)
    assert tell_apart(right[1], right[0], right[2]).item() == pytest.approx(100)
    assert pass_for_data(right[0]).item() == pytest.approx(0, abs=1e-6)


def moved(model: IAN, player: Player) -> set[str]:
    """Parts whose gradient the player's loss fills, of those that it moves."""
    model.zero_grad()
    for p in model.parameters():
        p.requires_grad_(any(p is own for own in player.parameters()))
    player.loss(BATCH).backward()
    model.requires_grad_(True)
    named = [name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()]
    return {".".join(name.split(".")[:2]) for name in named}


def test_the_trunk_is_taught_by_the_three_kinds_alone():
    model = tiny(orthogonal_weight=0.0)
    encoder, discriminator, generator = model.players()
    assert moved(model, encoder) == {"encoder.body"}
    assert moved(model, generator) == {"generator.body"}
    assert moved(model, discriminator) == {"discriminator.body", "discriminator.heads"}
    # And not by how a reconstruction depends on it: to the trunk images are given.
    torch.manual_seed(1)
    model.zero_grad()
    model.discriminator_loss(BATCH).backward()
    found = model.discriminator.body.body[0].weight.grad.clone()
    torch.manual_seed(1)
    fakes = [tuple(image.detach() for image in seen) for seen in model._fakes(BATCH[0])]
    model.zero_grad()
    scores = [model.discriminator(*seen) for seen in ((BATCH[0],), *fakes)]
    tell_apart(*scores).backward()
    torch.testing.assert_close(found, model.discriminator.body.body[0].weight.grad)


def test_losses_by_hand():
    model = tiny(pixel_weight=2.0, feature_weight=5.0, orthogonal_weight=0.0, kl_weight=0.5)
    x, again = bits(6), torch.rand(6, 1, 8, 8)
    judge = model.discriminator
    apart = (judge.features(x) - judge.features(again)).square().mean()
    by_hand = 2 * 2 * (x - again).abs().mean() + 5 * apart + pass_for_data(judge(again))
    torch.testing.assert_close(model.likeness((x,), (again,)), by_hand)
    q = model.posterior(x)
    nats = 0.5 * (q.mean.square() + q.variance - 1 - q.variance.log()).sum(1).mean()
    assert model.divergence(q).item() == pytest.approx(0.5 * nats.item(), rel=1e-5)
    kinds = judge(x).softmax(1)[:, 0]
    torch.testing.assert_close(model.score(x), (kinds / (1 - kinds)).log())
    ordered = tiny(orthogonal_weight=0.1)
    ordered.load_state_dict(model.state_dict())
    for loss, network in (("discriminator_loss", judge), ("generator_loss", model.generator)):
        free, paid = (without.__getattribute__(loss) for without in (model, ordered))
        ordered.pixel_weight, ordered.feature_weight = 2.0, 5.0
        torch.manual_seed(1)
        cost = free(BATCH)
        torch.manual_seed(1)
        torch.testing.assert_close(paid(BATCH), cost + 0.1 * disorder(network))


class Corner(nn.Module):
    """Draws z[0] in the upper left corner, z[1] in the lower right, and grey elsewhere."""

    def forward(self, z):
        x = torch.zeros(len(z), 1, 8, 8)
        x[:, 0, :2, :2] = z[:, :1, None]
        x[:, 0, 6:, 6:] = z[:, 1:2, None]
        return x


def test_the_brush_changes_what_belongs_to_the_stroke_and_nothing_else():
    model = tiny()
    model.generator, model.encode = Corner(), lambda x, y: torch.zeros(len(x), 3)
    photo, paint, mask = bits(2), torch.ones(2, 1, 8, 8), torch.zeros(2, 1, 8, 8)
    mask[:, :, 0, 0] = 1  # a part of the corner
    edited, z = model.edit(photo, paint, mask, steps=200)
    assert z[:, 0].tolist() == pytest.approx([1, 1], abs=0.02)
    assert not z[:, 1:].any()
    assert torch.equal(edited[:, :, 5:], photo[:, :, 5:])  # to the bit, though G draws it grey
    assert torch.equal(edited[:, :, :, 5:], photo[:, :, :, 5:])
    corner = torch.zeros(1, 1, 8, 8)
    corner[:, :, :2, :2] = 1
    painted = torch.lerp(photo, model.generator(z), blur(corner))
    torch.testing.assert_close(edited, painted, atol=0.05, rtol=0)
    assert edited.abs().max() <= 1
    with pytest.raises(ValueError, match=r"mask must be \(B, 1, H, W\) beside x, got \(8, 8\)"):
        model.edit(photo, paint, mask[0, 0])


def test_a_blur_keeps_what_is_even_and_spreads_what_is_not():
    even = torch.full((1, 1, 8, 8), 0.3)
    torch.testing.assert_close(blur(even), even)
    point = torch.zeros(1, 1, 9, 9)
    point[..., 4, 4] = 1
    ratio = blur(point)[0, 0, 4, 5] / blur(point)[0, 0, 4, 4]
    assert ratio.item() == pytest.approx(math.exp(-0.5 / 0.7**2))
    assert blur(point).sum().item() == pytest.approx(1)


@pytest.mark.parametrize("name", ["pixel", "feature", "kl", "orthogonal"])
def test_negative_weights_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}_weight must be 0 or more, got -1"):
        tiny(**{f"{name}_weight": -1})


def test_a_game_of_its_own_does_not_saturate():
    with pytest.raises(ValueError, match="saturating must be False: IAN has its own loss"):
        tiny(saturating=True)


class Blind(IAN):
    """The VAE of the same head and generator, on a trunk that nobody trains."""

    def players(self):
        return (Player("vae", (self.encoder, self.generator), self.encoder_loss),)

    def likeness(self, real, fake):
        return self.pixel_weight * 2 * (real[0] - fake[0]).abs().mean()


def patch(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Paint for 3x3 pixels in the middle, the opposite extreme of what is there; and the brush."""
    mask = torch.zeros(len(x), 1, 8, 8)
    mask[:, :, 3:6, 3:6] = 1
    light = (x * mask).sum((1, 2, 3), keepdim=True) > 0
    return torch.where(light, -1.0, 1.0).expand_as(x), mask


@pytest.mark.claim
@pytest.mark.slow
def test_a_trunk_that_only_discriminates_is_enough_to_reconstruct_and_to_paint(measured):
    x, labels = digits()[2:]
    paint, mask = patch(x)

    def off(image):
        return ((mask * (image - paint)).square().sum() / mask.sum()).item()

    found = []
    for seed in (0, 1, 2):
        row = []
        for model_class in (IAN, Blind):
            torch.manual_seed(seed)
            model = model_class((1, 8, 8), width=128, lr=1e-3)
            fit(model, Digits(batch_size=128), steps=800, limit_val_batches=0)
            again, (photo, z) = model.reconstruct(x), model.edit(x, paint, mask)
            same = (classes(again) == labels).float().mean().item()
            falls = 1 - off(model.decode(z)) / off(again), 1 - off(photo) / off(x)
            row += [same, *falls, distance(model.sample(1297))]
        found.append(row)
    same, drawn, photo, apart, *blind = zip(*found, strict=True)
    of = "of a VAE on an untrained trunk"
    baseline = measured.median(f"digits that come back as themselves, {of}", blind[0])
    measured.median("digits that come back as themselves", same, above=baseline - 0.05)
    measured.median(f"a patch's error falls in G(z) by, {of}", blind[1])
    measured.median("a patch's error falls in G(z) by", drawn, above=0.7)
    measured.median(f"and in the photo by, {of}", blind[2])
    measured.median("and in the photo by", photo, above=0.5)
    measured.median(f"Fréchet distance of samples, {of}", blind[3])
    measured.median("Fréchet distance of samples", apart)
