"""The distance of two images after one of them is aligned with the other.

A copy that was rotated, zoomed, shifted or made brighter differs from its source in most pixels. So
image x is warped onto y by the affine map A, the gain g and the offset o of the least squares,

    min over A, g, o of  mean over the common area of  (y - g x(A .) - o)^2

by damped Gauss-Newton steps from the identity (Lucas and Kanade, 1981; Baker and Matthews,
2004, https://doi.org/10.1023/B:VISI.0000011205.11775.fd), and the mirrored x likewise. The map
stays near the identity, so images that are no copies stay far apart.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 256  # pairs at a time
REACH = 0.35  # largest difference of an entry of the map from the identity's
DAMPING = 1e-2


def aligned_distance(x: Tensor, y: Tensor, steps: int = 8) -> Tensor:
    """Root mean square difference of each pair under the best map, mirrored or not.

    Args:
        x, y: float (B, C, H, W), best a little blurred: gradients of noise and sharp edges mislead.
        steps: Number of Gauss-Newton steps.

    Returns:
        Distances (B,), in the unit of the images.
    """
    if x.shape != y.shape or x.ndim != 4:
        raise ValueError(f"x and y must be images alike, got {tuple(x.shape)}, {tuple(y.shape)}")
    if not len(x):
        return x.new_empty(0)
    pairs = zip(x.split(BLOCK), y.split(BLOCK), strict=True)
    found = [torch.minimum(_aligned(a, b, steps), _aligned(a.flip(-1), b, steps)) for a, b in pairs]
    return torch.cat(found)


def _aligned(x: Tensor, y: Tensor, steps: int) -> Tensor:
    b, c, height, width = x.shape
    down, right = (
        torch.linspace(1 / side - 1, 1 - 1 / side, side, dtype=x.dtype, device=x.device)
        for side in (height, width)
    )
    places = torch.stack(
        [right.expand(height, -1), down[:, None].expand(-1, width), x.new_ones(height, width)]
    ).flatten(1)[None, :, None]  # (1, 3, 1, HW)
    identity = torch.eye(3, dtype=x.dtype, device=x.device)
    warp = identity[:2].repeat(b, 1, 1)
    best = x.new_full((b,), torch.inf)
    jacobian = x.new_empty(b, 8, c, height * width)  # one buffer for all steps
    for step in range(steps):
        grid = F.affine_grid(warp, [b, c, height, width], align_corners=False)
        moved = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
        inside = (grid.abs().amax(-1) <= 1).to(x.dtype).flatten(1)[:, None]  # (B, 1, HW)
        torch.mul(moved.flatten(2), inside, out=jacobian[:, 6])
        jacobian[:, 7] = inside
        parts = slice(6, 8) if step == steps - 1 else slice(0, 8)  # the last map is not changed
        if step < steps - 1:
            for first, axis, side in ((0, 3, width), (3, 2, height)):
                slope = (_slope(moved, axis) * (side / 2)).flatten(2).mul_(inside)[:, None]
                torch.mul(slope, places, out=jacobian[:, first : first + 3])
        rows = jacobian[:, parts].flatten(2)  # (B, 8 or 2, CHW)
        rest = ((y - moved).flatten(2) * inside).flatten(1)
        normal, towards = rows @ rows.mT, rows @ rest[:, :, None]
        # Gain and offset are solved exactly in every step.
        gain = torch.linalg.solve(normal[:, -2:, -2:] + 1e-3 * identity[:2, :2], towards[:, -2:])
        left = rest - (gain.mT @ rows[:, -2:])[:, 0]
        best = torch.minimum(best, left.square().sum(1) / (c * inside.sum((1, 2))).clamp(min=1))
        if step < steps - 1:
            damping = DAMPING * normal.diagonal(dim1=1, dim2=2).clamp(min=1e-3)
            change = torch.linalg.solve(normal + torch.diag_embed(damping), towards)[:, :6, 0]
            update = F.pad(change.view(b, 2, 3).clamp(-0.25, 0.25), (0, 0, 0, 1))
            warp = warp @ (identity + update)
            warp = identity[:2] + (warp - identity[:2]).clamp(-REACH, REACH)
    return best.sqrt()


def _slope(x: Tensor, axis: int) -> Tensor:
    """Central differences along an axis, per pixel."""
    pad = (1, 1, 0, 0) if axis == 3 else (0, 0, 1, 1)
    x = F.pad(x, pad, mode="replicate")
    n = x.shape[axis]
    return (x.narrow(axis, 2, n - 2) - x.narrow(axis, 0, n - 2)) / 2
