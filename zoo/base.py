"""What every model of the zoo shares, beyond being a LightningModule: batches of any loader, the
first ones checked, a loss that runs away named, and a training that can be killed and resumed to
the bit.

The noise of a training step is a function of (seed, rank, batch number). So a resumed run draws
what the unbroken one would have drawn, two ranks never draw the same, and an evaluation in
between disturbs nothing.
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
from ..checks import PutOff, put_off
from ..conditions import Classes, Condition, Nothing, condition_of
from ..rng import seed_of
from .inputs import ENOUGH, Inputs
from .losses import Losses

VERSION = "genzoo_version"  # where a checkpoint says which version wrote it; older ones do not
LOOK_EVERY = 100  # batches: how late at most a GPU's answer to a check is looked at


class GenerativeModel(Described, Inputs, UnpackedBatches, L.LightningModule):
    """Base of the zoo's models.

    Attributes:
        image_shape: (C, H, W), or (D,) for points.
        condition: What the networks are given beside noise or images. It can be set by the value,
            by its plain values or by a number of classes.
        num_classes: K of a class-conditional model, short for `Classes(K)`; 0: of any other.
        condition_kinds: Of conditions, which this model's networks can take.
        class_names: What the data called them, of a model from a checkpoint.
        learnt_classes: K of a model that draws without labels and learns from those 0..K-1 of the
            data, -1 where there is none; 0: it learns from none.
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
        """As Lightning's; numbers that the model cannot have are refused, before it is built."""
        frame = frame or inspect.currentframe().f_back  # the constructor, which is looked at
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
        """Of a constructor that takes one: as plain values, so that a checkpoint is plain."""
        if "condition" in parameters(type(self), fixed=True):
            self.hparams["condition"] = self.condition.to_plain()

    @property
    def condition(self) -> Condition:
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
        return self.condition.num_classes

    @num_classes.setter
    def num_classes(self, number: int) -> None:
        self.condition = condition_of(number)

    @property
    def image_shape(self) -> tuple[int, ...]:
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
        if self.noise_seed is None:  # else a checkpoint brought it
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
        state = self.trainer.state  # which says so where a step ends in an error
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
        # Now and then only: a GPU would have to wait for each number that is looked at.
        place = place_of(self.trainer)
        if (place + 1) % max(1, self.trainer.log_every_n_steps) == 0:
            self.losses.name_lost(self)

    def on_train_epoch_end(self) -> None:
        self._put_off.look()

    def on_train_end(self) -> None:
        self.losses.name_lost(self, last=True)

    def log_number(self, name: str, value: float) -> None:
        """Logs a number that the host knows; the GPU is not waited for, as `log` would."""
        self.log(name, torch.full((), float(value), device=self.device))

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        trainer = trainer_of(self)
        if trainer is not None:
            keep_place(trainer, checkpoint)
        checkpoint[VERSION] = __version__
        checkpoint["noise_seed"] = self.noise_seed
        # So that the file alone is enough to draw from.
        checkpoint["condition"] = self.condition.to_plain()
        if self.bank is not None:
            checkpoint["bank"] = self.bank
        checkpoint["class_path"] = f"{type(self).__module__}.{type(self).__qualname__}"
        data = trainer and getattr(trainer, "datamodule", None)
        checkpoint["class_names"] = list(getattr(data, "class_names", self.class_names))

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        """Raises: ValueError: the data has other classes than those that the model knows."""
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
        """The optimizers go on with the rates of the checkpoint, so the model says these too."""
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
        """Nothing of its own to measure."""

    def test_step(self, batch, batch_idx) -> None:
        """Nothing of its own to measure."""

    def on_validation_end(self) -> None:
        # The axis of this validation's numbers. It would stay, and name later checkpoints.
        self.trainer.callback_metrics.pop("step", None)

    def to_draw(self, n: int, y: Any = None) -> tuple[Any, ...]:
        """The `*condition` of n images that are drawn: what was asked for, checked, or at random;
        nothing of an unconditional model.

        Raises:
            ValueError: y is not the model's condition, or there is none to draw.
        """
        return self.condition.arguments(self.labels(n, y))

    def labels(self, n: int, y: Any = None) -> Any:
        """The same as y, or None."""
        if y is None:
            return self.condition.draw(n, self.device, self.bank)
        if self.condition == Nothing():
            raise ValueError(f"y must be None: this {type(self).__name__} is unconditional")
        y = batches.to(y, self.device)
        self.condition.check(y, n)
        return y


def _counted(sample):
    """A model's `sample(n, ...)` that refuses what is no number of images."""

    @wraps(sample)
    def checked(self, n, *args, **kwargs):
        if not hasattr(n, "__index__") or n < 0:
            raise ValueError(f"n must be a whole number of images, 0 or more, got {n}")
        return sample(self, n, *args, **kwargs)

    return checked


def listed(value):
    """A tuple as the list that it comes back as from a file."""
    return list(value) if isinstance(value, tuple) else value
