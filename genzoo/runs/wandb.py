"""A logger for Weights & Biases whose failures never end a training.

If a key is missing, the network is down, or the service fails or hangs, training continues, its
metrics are in the run directory anyway, and one line reports the failure.
"""

import logging
import os
from functools import wraps
from pathlib import Path
from queue import Full, Queue
from threading import Event, Thread, current_thread
from typing import Any

import torch
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from .._lightning.logger import OpenWandbLogger, is_nobody, nobody
from ..images import to_uint8

# Not Python's warnings: with `-W error` they would end the training.
log = logging.getLogger(__name__)


def _behind(method):
    """Defers a method that may fail or block to the logger's own thread."""

    @wraps(method)
    @rank_zero_only
    def enqueue(self, *args: Any, **kwargs: Any) -> None:
        if current_thread() is self._worker:  # called by another deferred method
            return method(self, *args, **kwargs)
        self.experiment  # noqa: B018  made here, by one thread
        self._put(method, args, kwargs)

    return enqueue


class SafeWandbLogger(OpenWandbLogger):
    """Lightning's `WandbLogger` with a queue and its own thread, in which failures are only logged.

    Without a key and without WANDB_MODE the run is written to disk, and `wandb sync` sends it.
    Images are uint8, or floats in [-1, 1], which wandb itself would show black.

    Args:
        project: Project of the dashboard; None: WANDB_PROJECT, or else "genzoo".
        queue_size: Largest number of calls in the queue; while it is full, calls are dropped.
        patience: Seconds that the end of a training waits for the queue to empty.
        kwargs: Arguments of Lightning's `WandbLogger` and of `wandb.init`.
    """

    def __init__(
        self,
        project: str | None = None,
        queue_size: int = 10_000,
        patience: float = 30.0,
        **kwargs: Any,
    ):
        project = project or os.environ.get("WANDB_PROJECT", "genzoo")
        super().__init__(project=project, **kwargs)
        if self.arguments.get("anonymous") is None:
            self.arguments.pop("anonymous")  # wandb warns of it even so
        self.patience = patience
        self._queue: Queue = Queue(queue_size)
        self._worker: Thread | None = None
        self._warned: set[str] = set()

    def settle(self, folder: str | Path, name: str) -> None:
        """Writes W&B's files into the run directory, so that a resumed run resumes W&B's run."""
        if self.arguments["dir"] in (None, "."):
            self.settle_in(folder)
        if self.arguments["name"] is None:
            self.rename(name)
        earlier = sorted(Path(folder, "wandb").glob("*run-*-*"), key=os.path.getmtime)
        if self.arguments["id"] is None and earlier:
            self.go_on_with(earlier[-1].name.rpartition("-")[-1])

    def begin(self) -> Any:
        """W&B's run, or one on the disk, or else an object that ignores all calls."""
        import wandb

        if self.arguments.get("settings") is None:
            times = {"init_timeout": 20, "finish_timeout": self.patience}
            self.arguments["settings"] = wandb.Settings(**times)
        if self.arguments["dir"]:
            Path(self.arguments["dir"]).mkdir(parents=True, exist_ok=True)
        try:
            if not (self.is_offline or self.arguments.get("mode") or "WANDB_MODE" in os.environ):
                if not has_key(wandb):
                    self._warn("has no API key", "the run is written to disk, wandb sync sends it")
                    self.arguments["mode"] = "offline"
            return self.begin_run()
        except Exception as error:
            self._warn(
                f"could not start at {address(wandb)}",
                error,
                "the run is written to disk instead: look whether WANDB_BASE_URL is right and can "
                "be reached from here, then wandb sync sends it",
            )
        try:
            wandb.teardown()
            self.arguments["mode"] = "offline"
            return self.begin_run()
        except Exception as error:
            self._warn("could not start on the disk either", error, "training goes on without it")
            return nobody()

    log_hyperparams = _behind(WandbLogger.log_hyperparams)
    log_metrics = _behind(WandbLogger.log_metrics)
    log_table = _behind(WandbLogger.log_table)
    log_text = _behind(WandbLogger.log_text)
    log_audio = _behind(WandbLogger.log_audio)
    log_video = _behind(WandbLogger.log_video)
    watch = _behind(WandbLogger.watch)
    after_save_checkpoint = _behind(WandbLogger.after_save_checkpoint)
    _log_image = _behind(WandbLogger.log_image)

    @rank_zero_only
    def log_image(self, key: str, images: list[Any], step: int | None = None, **kwargs) -> None:
        self._log_image(key, [as_array(image) for image in images], step, **kwargs)

    @_behind
    def log_summary(self, values: dict[str, Any]) -> None:
        """Sets values in the summary of the run."""
        if not is_nobody(self.experiment):
            self.experiment.summary.update(values)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if self.run is not None:
            self._put(WandbLogger.finalize, (status,), {}, self.patience)
            self.wait()

    def finish(self) -> bool:
        """Ends the run; False if the service still hangs after `patience` seconds."""
        if self.run is None or is_nobody(self.run):
            return True
        self._put(lambda self: self.run.finish(), (), {}, self.patience)
        done = self.wait()
        self.forget_run()
        return done

    def wait(self) -> bool:
        """Waits until all earlier calls are done, at most `patience` seconds; whether they are."""
        done = Event()
        self._put(lambda self: done.set(), (), {}, self.patience)
        if not done.wait(self.patience):
            self._warn("does not answer", "what is missing there is in the run directory")
            return False
        return True

    def _put(self, method, args: tuple, kwargs: dict, patience: float = 0.0) -> None:
        if self._worker is None:
            self._worker = Thread(target=self._work, name="wandb logger", daemon=True)
            self._worker.start()
        try:
            self._queue.put((method, args, kwargs), block=patience > 0, timeout=patience)
        except Full:
            self._warn("does not answer, its queue is full", "what follows is not logged there")

    def _work(self) -> None:
        while True:
            method, args, kwargs = self._queue.get()
            try:
                method(self, *args, **kwargs)
            except Exception as error:
                self._warn("failed", error, "training goes on")

    def _warn(self, what: str, *why: object) -> None:
        if what not in self._warned:
            self._warned.add(what)
            lines = (first_words(str(reason)) for reason in why)
            log.warning("genzoo: W&B %s: %s", what, "; ".join(lines))

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_queue": None, "_worker": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _queue=Queue(10_000))


def has_key(wandb) -> bool:
    """Whether W&B has credentials; there is no prompt on the terminal."""
    try:
        return wandb.login(prompt=False, verify=False)
    except TypeError:  # an older wandb
        return bool(wandb.api.api_key)


def address(wandb) -> str:
    """Of the service: what WANDB_BASE_URL says, or else wandb's own settings."""
    return os.environ.get("WANDB_BASE_URL") or wandb.setup().settings.base_url


def first_words(text: str) -> str:
    """The first line, and the next two where it ends before it says what is wrong."""
    first, *others = text.strip().splitlines() or [""]
    if "validation error" in first:  # pydantic's
        return " ".join([first, *(line.strip() for line in others[:2])])
    return first


def as_array(image: Any) -> Any:
    """A copy of a tensor as uint8 (H, W, C); other objects stay unchanged."""
    if not isinstance(image, torch.Tensor):
        return image
    image = image.detach().cpu()
    image = to_uint8(image) if image.is_floating_point() else image.to(torch.uint8)
    if image.ndim == 3 and image.shape[0] in (1, 3, 4) and image.shape[-1] not in (1, 3, 4):
        image = image.movedim(0, -1)
    if image.ndim == 3 and image.shape[-1] == 1:
        image = image[..., 0]
    return image.numpy().copy()
