"""DINOv2's vision transformer, for weights in a file.

Oquab et al., 2023, https://arxiv.org/abs/2304.07193; Dosovitskiy et al., 2020,
https://arxiv.org/abs/2010.11929. With z the class token followed by the tokens of the patches,

    z = z + g_1 * MSA(LN(z)),    z = z + g_2 * MLP(LN(z)),    in each block,

where g are learned weights of the channels (LayerScale). The sizes of the network are those of its
weights.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEAD = 64  # channels of an attention head
OFFSET = 0.1  # added to the sides when position embeddings are resized, as in the authors' code


class Block(nn.Module):
    """Self-attention and a multilayer perceptron, each with a layer norm and a residual connection.

    Args:
        dim: Channels D of a token.
        hidden: Hidden units of the perceptron.
    """

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(dim, 3 * dim), "proj": nn.Linear(dim, dim)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, hidden), "fc2": nn.Linear(hidden, dim)})
        self.ls1, self.ls2 = (nn.ParameterDict({"gamma": torch.ones(dim)}) for _ in range(2))

    def forward(self, z: Tensor) -> Tensor:
        """Tokens (B, T, D) to tokens of the same shape."""
        qkv = self.attn["qkv"](self.norm1(z)).unflatten(2, (3, -1, HEAD))  # (B, T, 3, heads, 64)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        z = z + self.ls1["gamma"] * self.attn["proj"](mixed)
        return z + self.ls2["gamma"] * self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(z))))


class VisionTransformer(nn.Module):
    """A network from images (B, 3, H, W) to the class token of the last layer, (B, D).

    Args:
        state: The published weights, by their names.

    Raises:
        ValueError: if they are not weights of DINOv2.
    """

    def __init__(self, state: dict[str, Tensor]):
        super().__init__()
        try:
            dim, _, patch, _ = state["patch_embed.proj.weight"].shape
            hidden, places = len(state["blocks.0.mlp.fc1.weight"]), state["pos_embed"].shape[1]
        except KeyError as error:
            raise ValueError(f"weights must be those of DINOv2, got none called {error}") from None
        depth = len({name.split(".")[1] for name in state if name.startswith("blocks.")})
        self.patch = patch
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, places, dim))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, dim, patch, patch)})
        self.blocks = nn.ModuleList(Block(dim, hidden) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        # The token that masks patches in training is not used here.
        state = {name: tensor for name, tensor in state.items() if name != "mask_token"}
        try:
            self.load_state_dict(state)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"weights must be those of DINOv2, got others: {reason}") from None

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch_embed["proj"](x)  # (B, D, H / patch, W / patch)
        z = torch.cat([self.cls_token.expand(len(x), -1, -1), tokens.flatten(2).mT], 1)
        z = z + self._places(*tokens.shape[2:])
        for block in self.blocks:
            z = block(z)
        return self.norm(z)[:, 0]

    def _places(self, height: int, width: int) -> Tensor:
        """Position embeddings (1, 1 + height * width, D), resized to the number of patches."""
        first, rest = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        side = round(rest.shape[1] ** 0.5)
        if (height, width) == (side, side):
            return self.pos_embed
        grid = rest.unflatten(1, (side, side)).permute(0, 3, 1, 2)
        scale = ((height + OFFSET) / side, (width + OFFSET) / side)
        grid = F.interpolate(grid, scale_factor=scale, mode="bicubic")
        return torch.cat([first, grid.flatten(2).mT], 1)
