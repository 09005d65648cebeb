"""Named protocols with random weights, against Pillow and torch-fidelity's own layers."""

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn
from torchvision import transforms
from torchvision.models.vision_transformer import VisionTransformer as VisionNetwork

from genzoo.callbacks import Realism
from genzoo.features import named
from genzoo.features.extractors import make_extractor
from genzoo.features.named import SSCD, CLIPEmbedding, DINOv2, resized
from genzoo.features.vit import VisionTransformer
from tests.helpers.evidence import evidence


def by_pillow(images, side):
    """Each channel as a picture of floats, as clean-fid resizes, (B, 3, side, side)."""
    made = []
    for channel in images.expand(-1, 3, -1, -1).flatten(0, 1):
        picture = Image.fromarray(channel.numpy().astype(np.float32))
        made.append(np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC)))
    return torch.from_numpy(np.stack(made)).clip(0, 255).view(len(images), 3, side, side)


@pytest.fixture
def images():
    return torch.randint(0, 256, (3, 1, 20, 28), dtype=torch.uint8)


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


# Weights in a file


def to_dinov2(theirs) -> dict[str, torch.Tensor]:
    """The weights of torchvision's transformer, by the names that DINOv2's have."""
    names = {
        "class_token": "cls_token",
        "conv_proj": "patch_embed.proj",
        "encoder.pos_embedding": "pos_embed",
        "encoder.ln": "norm",
        "ln_1": "norm1",
        "ln_2": "norm2",
        "self_attention.in_proj_": "attn.qkv.",
        "self_attention.out_proj": "attn.proj",
        "mlp.0": "mlp.fc1",
        "mlp.3": "mlp.fc2",
        "encoder.layers.encoder_layer_": "blocks.",
    }
    state = {}
    for name, tensor in theirs.state_dict().items():
        for old, new in names.items():
            name = name.replace(old, new)
        state[name] = tensor
    for i in range(len(theirs.encoder.layers)):
        for ls in ("ls1", "ls2"):
            state[f"blocks.{i}.{ls}.gamma"] = torch.ones(128)
    return {name: tensor for name, tensor in state.items() if not name.startswith("heads")}


@pytest.fixture
def transformer():
    network = VisionNetwork(224, 14, 2, 2, 128, 256)
    for parameter in network.parameters():  # else biases are nothing
        nn.init.normal_(parameter, std=0.1)
    network.heads = nn.Identity()
    return network.eval()


@torch.no_grad()
def test_dinov2_from_a_file_is_a_vision_transformer(transformer, images, tmp_path, monkeypatch):
    x = torch.randn(2, 3, 224, 224)
    state = to_dinov2(transformer)
    ours = VisionTransformer(state | {"mask_token": torch.zeros(1, 128)}).eval()
    torch.testing.assert_close(ours(x), transformer(x), rtol=1e-4, atol=1e-5)
    # A layer's own weights count, by which the other has none.
    other = VisionTransformer(state | {"blocks.0.ls1.gamma": torch.full((128,), 0.5)})
    assert (other(x) - ours(x)).abs().max() > 1e-3
    torch.save(state, tmp_path / "weights.pth")
    found = DINOv2(tmp_path / "weights.pth")
    assert not found.reference and found.lasting and found.name == "dinov2"
    monkeypatch.setenv("GENZOO_DINOV2", str(tmp_path / "weights.pth"))
    assert torch.equal(make_extractor("dinov2", images, None)(images)[0], found(images)[0])


def test_places_are_resized_to_the_patches_that_there_are(transformer):
    """The published network was trained with 37 by 37 of them."""
    state = to_dinov2(transformer)
    state["pos_embed"] = torch.linspace(0, 1, 37).repeat(37)[None, :, None].expand(1, -1, 128)
    state["pos_embed"] = torch.cat([torch.full((1, 1, 128), 7.0), state["pos_embed"]], 1)
    places = VisionTransformer(state)._places(16, 16)
    assert places.shape == (1, 257, 128) and (places[:, 0] == 7).all()
    rows = places.detach()[0, 1:, 0].view(16, 16)
    torch.testing.assert_close(rows[0], rows[-1])
    assert (rows[0].diff() > 0).all()


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
