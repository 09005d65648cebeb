"""Chairs: renderings of 3-D chairs, stools and blocks from all directions, computed when needed.

The chairs of Dosovitskiy et al. (https://arxiv.org/abs/1411.5928) are renderings of CAD models.
These chairs are a few boxes each, which is enough for the same experiments: images of a given
(type, azimuth, elevation), also of views that are not in the training data.

A box has six sides, of which at most three face the viewer. Each becomes a parallelogram on the
image, because the projection is parallel; a pixel's place within it and its depth are linear
functions of the pixel, so all sides are compared at all pixels at once and the nearest wins. Its
grey value depends on the angle of the side to a lamp at the viewer's left shoulder.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from .base import ImageData
from .batches import Images, generator

# A box is x, y, z of its lowest corner and its extent along each; x to the sitter's right, y to
# the front, z up. The seat's middle is the origin, and everything lies within a ball of radius 1.
Box = tuple[float, float, float, float, float, float]


def legs(x: float, y: float, bottom: float, top: float, width: float = 0.1) -> tuple[Box, ...]:
    """Four legs, at the corners of a rectangle."""
    corners = ((-x, -y), (x - width, -y), (-x, y - width), (x - width, y - width))
    return tuple((left, back, bottom, width, width, top - bottom) for left, back in corners)


SEAT: Box = (-0.4, -0.4, -0.1, 0.8, 0.8, 0.1)
BACK: Box = (-0.4, -0.4, 0.0, 0.8, 0.1, 0.75)
LEGS = legs(0.4, 0.4, -0.7, -0.1)
ARMS: tuple[Box, ...] = (
    (-0.4, -0.3, 0.25, 0.1, 0.7, 0.08),
    (0.3, -0.3, 0.25, 0.1, 0.7, 0.08),
    (-0.4, 0.3, 0.0, 0.1, 0.1, 0.25),
    (0.3, 0.3, 0.0, 0.1, 0.1, 0.25),
)
TYPES: dict[str, tuple[Box, ...]] = {
    "chair": (SEAT, BACK, *LEGS),
    "armchair": (SEAT, BACK, *LEGS, *ARMS),
    "ladder-back": (
        SEAT,
        *LEGS,
        (-0.4, -0.4, 0.0, 0.1, 0.1, 0.8),
        (0.3, -0.4, 0.0, 0.1, 0.1, 0.8),
        (-0.3, -0.4, 0.2, 0.6, 0.1, 0.14),
        (-0.3, -0.4, 0.55, 0.6, 0.1, 0.14),
    ),
    "stool": ((-0.35, -0.35, 0.05, 0.7, 0.7, 0.12), *legs(0.35, 0.35, -0.7, 0.05)),
    "office": (
        SEAT,
        (-0.3, -0.4, 0.1, 0.6, 0.1, 0.6),
        (-0.06, -0.4, 0.0, 0.12, 0.1, 0.1),
        (-0.07, -0.07, -0.65, 0.14, 0.14, 0.55),
        (-0.45, -0.07, -0.7, 0.9, 0.14, 0.09),
        (-0.07, -0.45, -0.7, 0.14, 0.9, 0.09),
    ),
    "sofa": (
        (-0.65, -0.35, -0.5, 1.3, 0.7, 0.4),
        (-0.65, -0.35, -0.1, 1.3, 0.2, 0.5),
        (-0.65, -0.15, -0.1, 0.18, 0.5, 0.25),
        (0.47, -0.15, -0.1, 0.18, 0.5, 0.25),
    ),
    "steps": ((-0.4, -0.5, -0.6, 0.8, 1.0, 0.4), (-0.4, -0.5, -0.2, 0.8, 0.5, 0.5)),
    "block": ((-0.5, -0.35, -0.55, 1.0, 0.7, 0.7),),
}
AMBIENT = 0.25  # share of the light that does not depend on the angle
LAMP = torch.nn.functional.normalize(torch.tensor([0.45, 0.7, 0.55]), dim=0)  # right, up, viewer
SAMPLES = 2  # rays a side of a pixel: edges are grey, not stairs
CHUNK = 16  # views at once: few enough for the cache of a core


@dataclass(frozen=True, eq=False)
class Views(Images):
    """Images with their labels and views.

    Args:
        images: uint8 (N, C, H, W).
        labels: Types, int64 (N,).
        views: Azimuth and elevation in degrees, float (N, 2).
    """

    views: Tensor

    @property
    def conditions(self) -> Tensor:
        """Type, azimuth and elevation, float (N, 3): the y of batches."""
        return torch.cat((self.labels[:, None].to(self.views), self.views), dim=1)


def render(boxes: tuple[Box, ...], azimuth: Tensor, elevation: Tensor, size: int = 32) -> Tensor:
    """Grey renderings, on black, of an object made of boxes.

    >>> render(TYPES["stool"], torch.tensor([0.0, 90.0]), torch.tensor([20.0, 20.0])).shape
    torch.Size([2, 1, 32, 32])

    Args:
        boxes: Boxes within the ball of radius 1, which fills the image.
        azimuth: Degrees of the viewer around the object from its front, (n,).
        elevation: Degrees by which the viewer looks down on the object, (n,).
        size: Pixels of a side.

    Returns:
        uint8 (n, 1, size, size).
    """
    views = zip(azimuth.split(CHUNK), elevation.split(CHUNK), strict=True)
    return torch.cat([_render(boxes, *view, size) for view in views])


def _render(boxes: tuple[Box, ...], azimuth: Tensor, elevation: Tensor, size: int) -> Tensor:
    turn = _axes(azimuth, elevation)  # (n, 3 of the viewer, 3 of the thing)
    box = torch.tensor(boxes)
    half = box[:, 3:] / 2  # (boxes, 3)
    middle = torch.einsum("nij,bj->nbi", turn, box[:, :3] + half)  # (n, boxes, 3)
    edges = turn[:, None] * half[:, None]  # (n, boxes, 3 of the viewer, 3 of the box)
    sign = turn[:, 2].sign()  # (n, 3): which of the two sides on each axis faces the viewer
    shade = AMBIENT + (1 - AMBIENT) * (torch.einsum("nij,i->nj", turn, LAMP) * sign).clamp(min=0)

    rays = size * SAMPLES
    place = (torch.arange(rays) + 0.5) * (2 / rays) - 1
    x, y = place.repeat(rays), -place.repeat_interleave(rays)
    plane = torch.stack((torch.ones_like(x), x, y))  # (3, rays * rays)
    nearest = torch.full((len(azimuth), rays * rays), -torch.inf)
    image = torch.zeros_like(nearest)
    for axis in range(3):
        one, other = (edges[..., i] for i in range(3) if i != axis)  # (n, boxes, 3) each
        # A ray is where face + s * one + t * other is, inside where |s| and |t| are at most 1.
        fx, fy, fz = (middle + edges[..., axis] * sign[:, None, axis, None]).unbind(-1)
        (ax, ay, az), (bx, by, bz) = one.unbind(-1), other.unbind(-1)
        area = (ax * by - ay * bx)[..., None]
        area = area.where(area.abs() > 1e-6, torch.nan)  # edge-on: no ray is inside
        s = torch.stack((fy * bx - fx * by, by, -bx), dim=-1) / area  # (n, boxes, 3)
        t = torch.stack((fx * ay - fy * ax, -ay, ax), dim=-1) / area
        depth = s * az[..., None] + t * bz[..., None]
        depth[..., 0] += fz
        for b in range(len(boxes)):
            outside = torch.maximum((s[:, b] @ plane).abs_(), (t[:, b] @ plane).abs_())
            here = depth[:, b] @ plane
            visible = (outside <= 1) & (here > nearest)
            nearest = torch.where(visible, here, nearest)
            image = torch.where(visible, shade[:, axis, None], image)
    pixels = image.view(-1, size, SAMPLES, size, SAMPLES).mean((2, 4))
    return pixels.mul(255).round().to(torch.uint8)[:, None]


def _axes(azimuth: Tensor, elevation: Tensor) -> Tensor:
    """Rows are the viewer's right, up and direction in the thing's space, (n, 3, 3)."""
    a, e = azimuth.float().deg2rad(), elevation.float().deg2rad()
    right = torch.stack((-a.cos(), a.sin(), torch.zeros_like(a)), dim=1)
    towards = torch.stack((a.sin() * e.cos(), a.cos() * e.cos(), e.sin()), dim=1)
    return torch.stack((right, torch.linalg.cross(towards, right), towards), dim=1)


class Chairs(ImageData):
    """Views of eight kinds of seats and blocks, (1, 32, 32), from a grid of views all around.

    A label is the type. With `views`, batches are (x, y) with y (B, 3) floats: type, azimuth and
    elevation in degrees, as `ChairGenerator` reads them. A share of the views is held out, the
    same views of all types, half for validation and half for the test: no training image has such
    a view. No files are read, and `root` is not used.

    Args:
        views: Whether y has the view; False: the type alone, (B,), for any class-conditional
            model.
        azimuths: Number of views around the object, the first from its front.
        elevations: Degrees by which the viewer looks down.
        held_out: Share of the views that are held out.
        image_size: Pixels of a side.
    """

    class_names = tuple(TYPES)

    def __init__(
        self,
        root: str | None = None,
        views: bool = False,
        azimuths: int = 72,
        elevations: tuple[float, ...] = (10.0, 20.0, 30.0, 40.0),
        held_out: float = 0.25,
        batch_size: int = 64,
        image_size: int = 32,
        binarise: Literal["none", "threshold", "static"] = "none",
        conditional: bool = False,
        seed: int = 0,
        num_train: int = 0,
    ):
        if not elevations or not all(-90 < degrees < 90 for degrees in elevations):
            raise ValueError(f"elevations must be between -90 and 90, got {tuple(elevations)}")
        if azimuths * len(elevations) < 3:
            raise ValueError(
                f"azimuths must make at least 3 views with the elevations, got {azimuths}"
            )
        if not 0 < held_out < 1:
            raise ValueError(f"held_out must be between 0 and 1, got {held_out}")
        if image_size < 8:
            raise ValueError(f"image_size must be at least 8 pixels, got {image_size}")
        self.raw_shape = (1, image_size, image_size)
        super().__init__(
            root,
            batch_size=batch_size,
            image_size=image_size,
            binarise=binarise,
            conditional=conditional,
            seed=seed,
            num_train=num_train,
        )
        self.views, self.held_out = views, held_out
        self.azimuths, self.elevations = azimuths, tuple(elevations)

    def read(self) -> dict[str, Views]:
        around = torch.arange(self.azimuths) * (360 / self.azimuths)
        views = torch.cartesian_prod(around, torch.tensor(self.elevations).float())  # (V, 2)
        order = torch.randperm(len(views), generator=generator("views", self.seed))
        val, test = self._held_out(len(views))
        parts = order.split([len(order) - val - test, val, test])
        return {
            part: self._draw(views[chosen.sort().values])
            for part, chosen in zip(("train", "val", "test"), parts, strict=True)
        }

    def _held_out(self, total: int) -> tuple[int, int]:
        """How many views are for validation and for the test: one at least, and one is left."""
        count = min(max(2, round(self.held_out * total)), total - 1)
        return count // 2, count - count // 2

    def _draw(self, views: Tensor) -> Views:
        """All types from these views, (V, 2)."""
        images = [render(boxes, *views.T, self.image_size) for boxes in TYPES.values()]
        labels = torch.arange(len(TYPES)).repeat_interleave(len(views))
        return Views(torch.cat(images), labels, views.repeat(len(TYPES), 1))

    def _finish(self, data: Views, part: str) -> Images:
        found = super()._finish(data, part)
        return found if self.views else Images(found.images, found.labels)
