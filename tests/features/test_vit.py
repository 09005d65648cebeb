"""The vision transformer against torchvision's, from weights in a file."""

import pytest
import torch
from torch import nn
from torchvision.models.vision_transformer import VisionTransformer as VisionNetwork

from genzoo.features.extractors import make_extractor
from genzoo.features.named import DINOv2
from genzoo.features.vit import VisionTransformer


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
