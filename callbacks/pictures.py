"""Pictures of samples, of interpolations between latents, and of reconstructions."""

from abc import abstractmethod
from typing import Any, ClassVar

import lightning as L
import torch
from torch import Tensor
from torch.nn.functional import interpolate as interpolate_sides

from ..batches import repeat, size, take, to
from ..checks import at_least
from ..conditions import asked_of
from ..images import check_images, from_uint8, to_uint8
from ..latent import interpolate
from ..modes import evaluating
from ..protocols import Decoder, Encoder, Filtering, Finite, Sampler
from ..report.figures import PAPER, grid, scatter
from ..rng import isolated
from ..run import Real, Run
from .evaluation import Question
from .publish import log_figure
from .run import refuse_shape_of

CLASSES = 20  # largest number of rows of classes
ROWS = 8  # number of rows of held-out conditions


class Picture(Question):
    """Base of the pictures: a subclass names the abilities that it needs, and defines `draw`.

    All pictures of a run use the same noise, so that they differ by the training alone. They are
    drawn at each validation and in test, equally on every rank, written as PNG into
    `<log_dir>/figures`, and given to every logger.

    Args:
        every_n_epochs: During fit, run at the validations of every n-th epoch; 0: at none.
        seed: Seed of the noise.
    """

    name: ClassVar[str]  # name of the picture
    needs: ClassVar[tuple[type, ...]]  # abilities of the model
    points: ClassVar[bool] = False  # whether it can also draw points of the plane

    def __init__(self, every_n_epochs: int = 1, seed: int = 0) -> None:
        super().__init__(every_n_epochs, seed)
        self.figures: dict[str, Tensor] = {}

    @abstractmethod
    def draw(self, run: Run, model: L.LightningModule) -> Tensor:
        """The picture, uint8 (H, W, 3); runs in evaluation mode, without gradients, with a seed."""

    def able(self, model: L.LightningModule) -> bool:
        shape = getattr(model, "image_shape", (1, 1, 1))
        shown = len(shape) == 3 or (self.points and tuple(shape) == (2,))
        return shown and all(isinstance(model, ability) for ability in self.needs)

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if self.required and not self.able(pl_module):
            methods = {
                Sampler: "sample",
                Decoder: "prior and decode",
                Encoder: "encode",
                Filtering: "filters",
            }
            needs = ", ".join(methods[ability] for ability in self.needs)
            raise TypeError(
                f"{type(self).__name__} needs images and the methods {needs}, "
                f"which {type(pl_module).__name__} lacks"
            )
        if self.able(pl_module):
            refuse_shape_of(trainer, pl_module)

    def answer(self, run: Run, model: L.LightningModule) -> dict[str, Tensor] | None:
        try:
            with isolated(self.seed), evaluating(model):
                self.figures = {self.name: self.draw(run, model)}
        except ValueError as error:
            if run.stage != "fit":
                raise
            # An unusable sample must not end a training.
            run.warn(f"no picture of {self.name} at step {run.step}: {error}")
            return None
        return self.figures

    def log_answer(self, trainer: L.Trainer, model: L.LightningModule, run: Run, found: Any):
        for name, picture in (found or {}).items():
            log_figure(trainer, run.prefix + name, picture)


class Grid(Picture):
    """Base of pictures with several images in rows.

    Args:
        count: Largest number of images.
        columns: Images in a row.
    """

    def __init__(
        self, count: int = 64, columns: int = 8, every_n_epochs: int = 1, seed: int = 0
    ) -> None:
        super().__init__(every_n_epochs, seed)
        at_least(1, count=count, columns=columns)
        self.count, self.columns = count, columns


class Samples(Grid):
    """A grid of samples. For a conditional model it has a row for each class, or for each of the
    first held-out conditions, with the condition on the left, in words or as an image.

    Points of the plane are drawn over held-out ones.

    Args:
        count: Number of samples of an unconditional model; for points twenty times as many.
        columns: Images in a row.
    """

    name, needs, points = "samples", (Sampler,), True

    def draw(self, run: Run, model: L.LightningModule) -> Tensor:
        if len(getattr(model, "image_shape", ())) == 1:
            real = run.real(run.split, 2_000)
            return scatter(model.sample(20 * self.count).float().cpu(), real.images.float())
        if isinstance(model, Finite):
            some = model.sample_at(0, min(self.count, model.num_available))
            return grid(_bytes(some, model), self.columns)
        condition = asked_of(model)
        rows = min(condition.num_classes, CLASSES) or ROWS
        y = first_conditions(run, model, rows)
        if y is None:
            return grid(_bytes(model.sample(self.count), model), self.columns)
        rows = size(y)
        x = model.sample(rows * self.columns, repeat(y, self.columns))
        words = condition.words(y)
        if condition.num_classes and run.data.class_names:
            words = run.data.class_names[:rows]
        shown = condition.pictures(y)
        if shown is None:
            return grid(_bytes(x, model), self.columns, rows=words)
        if shown.shape[1] != x.shape[1]:  # one grey, the other with colours
            shown = shown.mean(1, keepdim=True).expand(-1, x.shape[1], -1, -1)
        shown = interpolate_sides(shown, size=x.shape[2:])
        x = torch.cat((shown[:, None].to(x), x.unflatten(0, (rows, self.columns))), dim=1)
        words = words if any(words) else ()
        return grid(_bytes(x.flatten(0, 1), model), 1 + self.columns, rows=words)


class Interpolations(Picture):
    """Interpolations between random latents along great circles, one in each row.

    Args:
        count: Number of rows; for a conditional model each row has one condition.
        steps: Images in a row, both ends included.
    """

    name, needs = "interpolations", (Decoder,)

    def __init__(
        self, count: int = 8, steps: int = 9, every_n_epochs: int = 1, seed: int = 0
    ) -> None:
        super().__init__(every_n_epochs, seed)
        at_least(1, count=count)
        at_least(2, steps=steps)
        self.count, self.steps = count, steps

    def draw(self, run: Run, model: L.LightningModule) -> Tensor:
        z0, z1 = model.prior(self.count), model.prior(self.count)
        y = first_conditions(run, model, self.count)
        walks = interpolate(model, z0, z1, self.steps, y=y)  # (count, steps, C, H, W)
        return grid(_bytes(walks.flatten(0, 1), model), self.steps)


class Reconstructions(Grid):
    """Held-out images in odd rows, with their reconstructions below.

    Args:
        count: Number of images.
        columns: Images in a row.
    """

    name, needs = "reconstructions", (Encoder, Decoder)

    def __init__(self, count: int = 16, columns: int = 8, **kwargs) -> None:
        super().__init__(count, columns, **kwargs)

    def draw(self, run: Run, model: L.LightningModule) -> Tensor:
        real: Real = run.real(run.split, self.count)
        x = from_uint8(real.images.to(model.device), model.dtype)
        condition = [to(y, model.device) for y in real.given(model)]
        again = model.decode(model.encode(x, *condition), *condition)
        pairs = zip(
            real.images.split(self.columns), _bytes(again, model).split(self.columns), strict=True
        )
        rows = [row for pair in pairs for row in pair]
        short = self.columns - len(rows[-1])  # empty places in the last row
        if short and len(rows) > 2:
            blank = torch.full((short, *rows[-1].shape[1:]), PAPER, dtype=torch.uint8)
            rows[-2], rows[-1] = torch.cat([rows[-2], blank]), torch.cat([rows[-1], blank])
        return grid(torch.cat(rows), min(self.columns, len(real.images)))


def first_conditions(run: Run, model: L.LightningModule, count: int) -> Any:
    """Conditions of `count` images: the classes in turn, or those of the first held-out images in
    turn; None for an unconditional model, or if the data has no conditions."""
    condition = asked_of(model)
    if classes := condition.num_classes:
        return torch.arange(count, device=model.device) % classes
    if not condition.from_data:
        return None
    for y in run.real(run.split, count).given(model):
        return to(take(y, torch.arange(count) % size(y)), model.device)
    return None


def _bytes(x: Tensor, model: L.LightningModule) -> Tensor:
    check_images(x, tuple(x.shape[1:]), type(model).__name__)
    return to_uint8(x).cpu()
