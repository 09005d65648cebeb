"""The base class of the zoo's models, a LightningModule: it reads batches of any loader and checks
the first ones, names a loss that diverges, and resumes a killed training to the bit.

The noise of a training step is a function of (seed, rank, batch number). So a resumed run draws the
same noise as an uninterrupted one, two ranks draw different noise, and an evaluation in between
changes nothing.
"""

import inspect
from collections.abc import Mapping
from functools import wraps
from itertools import zip_longest
from typing import Any

import lightning as L
import torch
from lightning.pytorch.trainer.states import TrainerStatus
from lightning.pytorch.utilities import rank_zero_warn

from .. import __version__, batches, checks, conditions
from .._lightning import keep_place, place_of, trainer_of
from .._lightning.training import UnpackedBatches
from ..arguments import Described, parameters
from ..arguments import parameters as arguments  # noqa: F401  its name of before
from ..checks import PutOff, put_off
from ..conditions import Classes, Condition, Nothing, condition_of
from ..rng import seed_of
from .inputs import ENOUGH, Inputs
from .losses import Losses

VERSION = "genzoo_version"  # key of the version in checkpoints; older ones have none
LOOK_EVERY = 100  # batches after which results of checks on the GPU are read at the latest


class GenerativeModel(Described, Inputs, UnpackedBatches, L.LightningModule):
    """Base class of the zoo's models.

    Attributes:
        image_shape: (C, H, W), or (D,) for points.
        condition: The condition of the networks, besides noise or images. It can be set to a
            `Condition`, to its plain values or to a number of classes.
        num_classes: K of a class-conditional model, short for `Classes(K)`; 0: of other models.
        condition_kinds: The kinds of conditions that this model's networks support.
        class_names: Names of the data's classes, in a model from a checkpoint.
        learnt_classes: K of an unconditional model that is trained with labels 0..K-1, or -1 for
            an unlabelled image; 0: labels are not used.
    """

    condition_kinds: tuple[type[Condition], ...] = (Nothing, Classes)
    class_names: tuple[str, ...] = ()
    learnt_classes: int = 0
    bank_size: int = conditions.BANK  # training conditions kept for `sample(n)`; 0 keeps none
    bank: Any = None
    _condition: Condition = Nothing()
    noise_seed: int | None = None

    def __init_subclass__(cls, **kwargs) -> None:
        super().__init_subclass__(**kwargs)
        if "sample" in vars(cls):
            cls.sample = _counted(cls.sample)
        if isinstance(number := vars(cls).get("num_classes"), int):
            cls._condition = condition_of(number)  # of all models of the class
            del cls.num_classes

    def __init__(self) -> None:
        super().__init__()
        self._put_off = PutOff()
        self.losses = Losses()

    def save_hyperparameters(self, *args: Any, ignore=None, frame=None, logger=True) -> None:
        """As Lightning's, with a check of the numbers before the model is built."""
        frame = frame or inspect.currentframe().f_back  # of the constructor
        ignored = [ignore] if isinstance(ignore, str) else list(ignore or ())
        ignored.append("condition")
        super().save_hyperparameters(*args, ignore=ignored, frame=frame, logger=logger)
        self._remember_condition()
        taken = parameters(type(self), fixed=True)
        given = {name: self.hparams[name] for name in self.hparams if name in taken}
        if "image_shape" in given:
            checks.shape_of_images(given["image_shape"])
        checks.numbers(given)

    def _remember_condition(self) -> None:
        """Stores a condition among the hyperparameters, as plain values for checkpoints."""
        if "condition" in parameters(type(self), fixed=True):
            self.hparams["condition"] = self.condition.to_plain()

    @property
    def condition(self) -> Condition:
        """The condition of the networks; `Nothing()` of an unconditional model."""
        return self._condition

    @condition.setter
    def condition(self, value: Condition | Mapping[str, Any] | int | None) -> None:
        value = condition_of(value)
        if not isinstance(value, self.condition_kinds):
            kinds = ", ".join(kind.__name__ for kind in self.condition_kinds)
            raise ValueError(
                f"condition must be one of {kinds} for a {type(self).__name__}, got {value}"
            )
        self._condition = value
        self._remember_condition()

    @property
    def num_classes(self) -> int:
        """K of a class-conditional model; 0 of other models."""
        return self.condition.num_classes

    @num_classes.setter
    def num_classes(self, number: int) -> None:
        self.condition = condition_of(number)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(C, H, W), or (D,) for points."""
        return self._image_shape

    @image_shape.setter
    def image_shape(self, shape: tuple[int, ...]) -> None:
        self._image_shape = checks.shape_of_images(shape)

    def on_fit_start(self) -> None:
        self._choose_noise()
        self._looked_at, self._lowest, self._highest = 0, float("inf"), -float("inf")
        self._put_off.forget()
        self.losses = Losses()

    def _choose_noise(self) -> None:
        if self.noise_seed is None:  # otherwise it is from a checkpoint
            self.noise_seed = self.trainer.strategy.broadcast(torch.initial_seed())

    def on_train_batch_start(self, batch, batch_idx) -> None:
        self._choose_noise()  # Lightning's Tuner trains before `on_fit_start`
        if self._looked_at < ENOUGH:
            if not self._looked_at:
                self.check_labels(batch)
                self._refuse_lone_images(batch)
            self.check_data(batch)
        if self.condition.from_data:
            self._keep_conditions(batch)
        state = self.trainer.state  # "interrupted" if a step raised an error
        put_off(lambda: state.status == TrainerStatus.RUNNING, self._put_off)
        place = place_of(self.trainer)
        seed = seed_of(self.noise_seed, self.trainer.global_rank, place)
        if self.device.type == "cpu":
            torch.default_generator.manual_seed(seed)  # the other asks for every device
        else:
            torch.manual_seed(seed)

    def on_train_batch_end(self, outputs, batch, batch_idx) -> None:
        put_off(bool)
        if (batch_idx + 1) % LOOK_EVERY == 0:
            self._put_off.look()
        if isinstance(outputs, Mapping) and "loss" in outputs:
            self.losses.last[""] = outputs["loss"].detach()
        self.losses.keep_first()
        # Not at each step: reading a number makes the host wait for the GPU.
        place = place_of(self.trainer)
        if (place + 1) % max(1, self.trainer.log_every_n_steps) == 0:
            self.losses.name_lost(self)

    def on_train_epoch_end(self) -> None:
        self._put_off.look()

    def on_train_end(self) -> None:
        self.losses.name_lost(self, last=True)

    def log_number(self, name: str, value: float) -> None:
        """Logs a Python number without waiting for the GPU, as `log` would."""
        self.log(name, torch.full((), float(value), device=self.device))

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        trainer = trainer_of(self)
        if trainer is not None:
            keep_place(trainer, checkpoint)
        checkpoint[VERSION] = __version__
        checkpoint["noise_seed"] = self.noise_seed
        # So that the file alone is enough for sampling.
        checkpoint["condition"] = self.condition.to_plain()
        if self.bank is not None:
            checkpoint["bank"] = self.bank
        checkpoint["class_path"] = f"{type(self).__module__}.{type(self).__qualname__}"
        data = trainer and getattr(trainer, "datamodule", None)
        checkpoint["class_names"] = list(getattr(data, "class_names", self.class_names))

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        """Raises: ValueError: the data has other classes than the model."""
        self.noise_seed = checkpoint.get("noise_seed")
        self.bank = checkpoint.get("bank")
        made_for = checkpoint.get("condition", ours := self.condition.to_plain())
        if made_for != ours and {made_for["kind"], ours["kind"]} != {"Classes"}:
            raise ValueError(
                f"condition must be that of the checkpoint, {conditions.from_plain(made_for)}, "
                f"got {self.condition}"
            )
        trainer = trainer_of(self)
        if trainer is not None and trainer.state.fn == "fit":
            self._keep_rates(checkpoint.get("hyper_parameters", {}))
        self.class_names = tuple(checkpoint.get("class_names", ()))
        data = trainer and getattr(trainer, "datamodule", None)
        names = tuple(getattr(data, "class_names", ()))
        if self.num_classes and self.class_names and names and names != self.class_names:
            at = next(i for i, (a, b) in enumerate(zip_longest(names, self.class_names)) if a != b)
            now, then = (some[at] if at < len(some) else None for some in (names, self.class_names))
            raise ValueError(
                f"class_names must be those of the checkpoint, in their order: "
                f"class {at} was {then!r}, got {now!r}"
            )

    def _keep_rates(self, made: dict) -> None:
        """Sets learning rates to those of the checkpoint, with which the optimizers continue."""
        for name, value in made.items():
            ours = self.hparams.get(name, value)
            if name.split("_")[-1] not in ("lr", "betas") or listed(ours) == listed(value):
                continue
            rank_zero_warn(
                f"{name} {ours} has no effect: a training that goes on keeps the optimizers of its "
                f"checkpoint, with {name} {value}. To start from its weights alone: init_from"
            )
            self.hparams[name] = value
            if hasattr(self, name):
                setattr(self, name, value)

    # Lightning enters the loops of validation and test only where these exist; the callbacks do
    # the work.
    def validation_step(self, batch, batch_idx) -> None:
        """Measures nothing; it lets Lightning run the loop, in which callbacks measure."""

    def test_step(self, batch, batch_idx) -> None:
        """Measures nothing; it lets Lightning run the loop, in which callbacks measure."""

    def on_validation_end(self) -> None:
        # The axis of this validation's numbers, which would remain in names of later checkpoints.
        self.trainer.callback_metrics.pop("step", None)

    def to_draw(self, n: int, y: Any = None) -> tuple[Any, ...]:
        """The `*condition` of n samples: y, which is checked, or a random condition; empty for an
        unconditional model.

        Raises:
            ValueError: y is not the model's condition, or no condition can be drawn.
        """
        return self.condition.arguments(self.labels(n, y))

    def labels(self, n: int, y: Any = None) -> Any:
        """The condition of n samples as y: y, which is checked, or a random one; None for an
        unconditional model."""
        if y is None:
            return self.condition.draw(n, self.device, self.bank)
        if self.condition == Nothing():
            raise ValueError(f"y must be None: this {type(self).__name__} is unconditional")
        y = batches.to(y, self.device)
        self.condition.check(y, n)
        return y


def _counted(sample):
    """A model's `sample(n, ...)` with a check of n."""

    @wraps(sample)
    def checked(self, n, *args, **kwargs):
        if not hasattr(n, "__index__") or n < 0:
            raise ValueError(f"n must be a whole number of images, 0 or more, got {n}")
        return sample(self, n, *args, **kwargs)

    return checked


def listed(value):
    """A tuple as a list, which it is in a file."""
    return list(value) if isinstance(value, tuple) else value
