"""Named protocols with random weights, against Pillow and torch-fidelity's own layers."""

import pytest
import torch
import torchvision
from torch import nn
from torchvision import transforms

from genzoo.callbacks import Realism
from genzoo.features import named
from genzoo.features.extractors import make_extractor
from genzoo.features.named import SSCD, CLIPEmbedding, DINOv2, resized
from tests.helpers.evidence import evidence
from tests.helpers.pictures import by_pillow


@pytest.mark.parametrize("side", [336, 13])
def test_images_are_resized_as_pillow_does(images, side):
    expected = by_pillow(images, side)
    found = resized(images, side).expand(-1, 3, -1, -1)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3)
    assert (expected % 1 != 0).any()  # not rounded to bytes


class Tiny(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


def test_dinov2_sees_normalised_images_of_224(images, monkeypatch):
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
    expected = (by_pillow(images, 224).mean((2, 3)) / 255 - mean) / deviation
    own = DINOv2(Tiny())
    torch.testing.assert_close(own(images)[0], expected, rtol=1e-4, atol=1e-4)
    assert not own.reference and own.name == "dinov2"

    class Downloaded:
        model = Tiny()

    asked = []
    monkeypatch.setattr(named, "fidelity_network", lambda name: asked.append(name) or Downloaded())
    published = make_extractor("dinov2", images, None)
    assert published.reference and asked == ["dinov2-vit-l-14"]
    parts = [torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8) for _ in range(3)]
    numbers = Realism().evaluate(evidence(*parts, published)).numbers
    assert {"fd_dinov2", "fd_dinov2_held_out", "kd/dinov2"} <= set(numbers) and "fid" not in numbers
    assert "fd/dinov2" in Realism().evaluate(evidence(*parts, own)).numbers


@pytest.fixture
def clip_weights(tmp_path):
    """A CLIP of two layers, 32 pixels and random weights, as a file of plain tensors."""
    from torch_fidelity.feature_extractor_clip import CLIPVisual

    model = CLIPVisual(24, 32, 2, 64, 16).half().float()  # published weights have half precision
    state = model.state_dict() | {"text_projection": torch.zeros(8, 24)}
    torch.save(state, tmp_path / "clip.pth")
    return tmp_path / "clip.pth", model


def test_clip_embeddings_have_unit_length_and_cmmd_its_name(images, clip_weights):
    path, model = clip_weights
    extractor = CLIPEmbedding(path)
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
    deviation = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)
    with torch.no_grad():
        expected = model.eval().visual((by_pillow(images, 32) / 255 - mean) / deviation)
        found = extractor(images)[0]
    torch.testing.assert_close(
        found, expected / expected.norm(dim=1, keepdim=True), rtol=1e-3, atol=1e-4
    )
    parts = [torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8) for _ in range(3)]
    with torch.no_grad():
        given = evidence(*parts, extractor)
        numbers = Realism().evaluate(given).numbers
        assert "cmmd/clip" in numbers and "cmmd/clip_held_out" in numbers
        extractor.reference = True
        assert {"cmmd", "cmmd_held_out", "fd/clip"} <= set(Realism().evaluate(given).numbers)


@torch.no_grad()
def test_sscd_pools_by_cubes_to_unit_length(images, tmp_path, monkeypatch):
    network = torchvision.models.resnet18(num_classes=6).eval()
    torch.save({f"backbone.{k}": v for k, v in network.state_dict().items()}, tmp_path / "sscd.pt")
    monkeypatch.setenv("GENZOO_SSCD", str(tmp_path / "sscd.pt"))
    found = make_extractor("sscd", images, None)(images)[0]
    x = transforms.Resize((320, 320))(images.expand(-1, 3, -1, -1).float()) / 255
    x = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])(x)
    body = nn.Sequential(*list(network.children())[:-2])
    y = body(x).clamp(min=1e-6).double().flatten(2)
    expected = network.fc((y**3).mean(2).pow(1 / 3).float())
    expected = expected / expected.norm(dim=1, keepdim=True)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_weights_of_another_network_are_refused(images, tmp_path, monkeypatch):
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="^weights must be those of DINOv2, got none called"):
        DINOv2(tmp_path / "other.pt")
    with pytest.raises(ValueError, match="^weights must be those of SSCD, got others"):
        SSCD(tmp_path / "other.pt")
    monkeypatch.delenv("GENZOO_SSCD", raising=False)
    with pytest.raises(ValueError, match="^extractor 'sscd' needs its weights in a file, "):
        make_extractor("sscd", images, None)
