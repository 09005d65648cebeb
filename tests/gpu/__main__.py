"""What only a GPU can show, in one command and one table:

    python -m tests.gpu

Every model trains there, step by step without a wait for the GPU; computes what the CPU computes;
goes on after a stop, to the bit; and a step costs what the loop costs that one would write by
hand. Needs torch, lightning, torchvision and torchmetrics, and less than eight minutes. Without a
GPU it can be rehearsed: `--device cpu`.
"""

import argparse
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from torch.utils.data import DataLoader

from genzoo.callbacks import ChannelsLast, Compile
from genzoo.protocols import Decoder, Density, Encoder
from genzoo.zoo import DCGAN
from genzoo.zoo.base import GenerativeModel
from tests.helpers.models import MODELS, SHAPE, TINY, batches, build
from tests.helpers.training import bits, loader, trainer

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or its sums have no one order

MINUTES = 7.5  # what is not begun by then is left out, and the table says so
CLOSE = 1e-3  # how far a GPU's numbers may be from the CPU's, relative to the largest
RESUMED = ("GAN", "DCGAN", "VAE", "PixelCNN", "RBM", "GoGAN", "ProgressiveGAN")


@dataclass(frozen=True)
class Row:
    """A line of the table; not `good`: the command fails."""

    check: str
    found: str
    good: bool
    seconds: float


class Waiting(L.Callback):
    """An error of torch's where a step after the first makes the host wait for the GPU."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if batch_idx and pl_module.device.type == "cuda":
            torch.cuda.set_sync_debug_mode("error")

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if pl_module.device.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")


def runner(device: str, **settings) -> L.Trainer:
    return trainer(accelerator="gpu" if device == "cuda" else "cpu", **settings)


def trained(name: str, device: str, *callbacks: L.Callback) -> GenerativeModel:
    model = build(name, num_classes=3)
    try:
        runner(device, max_epochs=1, callbacks=list(callbacks)).fit(model, batches(name))
    finally:
        if device == "cuda":
            torch.cuda.set_sync_debug_mode("default")
    return model.to(device)


# The checks. Each raises an AssertionError, or what torch raises, where something is wrong.


def trains(name: str, device: str) -> None:
    """Finite weights, and samples on the device in [-1, 1]."""
    model = trained(name, device, *[] if TINY[name].waits else [Waiting()])
    still = [key for key, p in model.named_parameters() if not torch.isfinite(p).all()]
    assert not still, f"weights that are not finite: {', '.join(still)}"
    x = model.sample(4)
    assert x.device.type == device and x.shape == (4, *SHAPE), (x.device, x.shape)
    assert -1 <= x.min() and x.max() <= 1, (x.min().item(), x.max().item())


def is_as_on_the_cpu(name: str, device: str) -> float:
    """How far apart the two are, of all that draws no noise."""
    model = build(name, num_classes=3)
    x, y = bits(6), torch.arange(6) % 3
    y = y if model.num_classes else None
    z = model.prior(6) if isinstance(model, Decoder) else None

    def computed(device: str) -> Iterator[Tensor]:
        model.to(device)
        there, label = x.to(device), None if y is None else y.to(device)
        with torch.no_grad():
            if z is not None:
                yield model.decode(z.to(device), label)
            if isinstance(model, Encoder):
                yield model.encode(there, *[] if label is None else [label])
            if isinstance(model, Density):
                yield model.log_prob(there, label)

    here = list(computed("cpu"))
    there = [value.cpu() for value in computed(device)]
    pairs = zip(here, there, strict=True)
    apart = [((a - b).abs().max() / a.abs().max().clamp(min=1)).item() for a, b in pairs]
    worst = max(apart, default=0.0)
    assert worst <= CLOSE, f"{worst:.1e} apart"
    return worst


def resumes(name: str, device: str) -> None:
    """The weights after two epochs are those after one, a stop, and another."""
    unbroken, resumed = (build(name, num_classes=3) for _ in range(2))
    with tempfile.TemporaryDirectory() as folder:
        saver = ModelCheckpoint(folder, "{epoch}", save_top_k=-1, every_n_epochs=1)
        saving = {"callbacks": [saver], "enable_checkpointing": True}
        runner(device, max_epochs=2, **saving).fit(unbroken, batches(name))
        path = Path(folder) / "epoch=0.ckpt"
        again = runner(device, max_epochs=2)
        again.fit(resumed, batches(name), ckpt_path=path, weights_only=True)
    expected, found = unbroken.state_dict(), resumed.state_dict()
    differ = [key for key in expected if not torch.equal(expected[key].cpu(), found[key].cpu())]
    assert not differ, f"{', '.join(differ[:3])} differ"


# Speed


@dataclass(frozen=True)
class Size:
    """What is timed: a DCGAN's steps."""

    side: int
    width: int
    batch: int
    steps: int
    first: int  # steps that are not counted; networks are compiled in them
    times: int  # that each is measured; the least counts

    def model(self) -> DCGAN:
        torch.manual_seed(0)
        return DCGAN((3, self.side, self.side), width=self.width)

    def data(self) -> DataLoader:
        shape = (self.batch, 3, self.side, self.side)
        return loader(torch.rand(shape).repeat(self.steps, 1, 1, 1) * 2 - 1, self.batch)


SIZES = {
    "cuda": Size(side=64, width=64, batch=128, steps=70, first=20, times=2),
    "cpu": Size(side=16, width=4, batch=8, steps=5, first=3, times=1),
}


class Clock(L.Callback):
    """Notes when steps end; the GPU is asked only before the first counted and after the last."""

    def __init__(self, size: Size):
        self.size, self.step = size, 0
        self.times: list[float] = []

    def on_train_batch_end(self, *_) -> None:
        self.step += 1
        if self.step in (self.size.first, self.size.steps):
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.times.append(time.perf_counter())

    def milliseconds(self) -> float:
        start, end = self.times
        return 1e3 * (end - start) / (self.size.steps - self.size.first)


def by_hand(size: Size, device: str) -> float:
    """Milliseconds of a step of the loop of PyTorch's DCGAN tutorial: one batch of samples for
    both players, two backward passes for the discriminator."""
    model, clock = size.model().to(device), Clock(size)
    generator, discriminator = model.generator, model.discriminator
    of_g, of_d = (
        torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999))
        for network in (generator, discriminator)
    )
    yes, no = torch.ones(size.batch, device=device), torch.zeros(size.batch, device=device)
    for x, _ in size.data():
        x = x.to(device)
        of_d.zero_grad()
        cross_entropy(discriminator(x), yes).backward()
        fake = generator(torch.rand(size.batch, model.latent_dim, device=device) * 2 - 1)
        cross_entropy(discriminator(fake.detach()), no).backward()
        of_d.step()
        of_g.zero_grad()
        cross_entropy(discriminator(fake), yes).backward()
        of_g.step()
        clock.on_train_batch_end()
    return clock.milliseconds()


def here(size: Size, device: str, *callbacks: L.Callback, **settings) -> float:
    """Milliseconds of a step of the zoo's model, trained by Lightning."""
    clock = Clock(size)
    training = runner(device, max_epochs=1, callbacks=[clock, *callbacks], **settings)
    training.fit(size.model(), size.data())
    return clock.milliseconds()


def compiled(device: str, mode: str = "default") -> Compile:
    """Without a GPU, by a backend that needs no C++ compiler."""
    return Compile(mode) if device == "cuda" else Compile(backend="aot_eager")


SPEEDS: dict[str, Callable[[Size, str], float]] = {
    "as it is": here,
    "ChannelsLast": lambda size, device: here(size, device, ChannelsLast()),
    "Compile": lambda size, device: here(size, device, compiled(device)),
    "Compile, reduce-overhead": lambda size, device: here(
        size, device, compiled(device, "reduce-overhead")
    ),
    "bf16-mixed": lambda size, device: here(size, device, precision="bf16-mixed"),
    "bf16-mixed, ChannelsLast, Compile": lambda size, device: here(
        size, device, ChannelsLast(), compiled(device), precision="bf16-mixed"
    ),
}


# The table


@contextmanager
def exact() -> Iterator[None]:
    """float32 as the CPU has it, and the same order of sums each time."""
    flags = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [flag.allow_tf32 for flag in flags]
    for flag in flags:
        flag.allow_tf32 = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        for flag, allowed in zip(flags, before, strict=True):
            flag.allow_tf32 = allowed
        torch.use_deterministic_algorithms(False)


def over(what: str, check: Callable, names: list[str], device: str, end: float) -> Row:
    """One check over many models."""
    start, bad, left, found = time.perf_counter(), [], [], []
    for name in names:
        if time.perf_counter() > end:
            left.append(name)
            continue
        try:
            found.append(check(name, device))
        except Exception as error:  # of any kind: it is what the table is for
            lines = str(error).strip().splitlines()
            bad.append(f"{name}: {type(error).__name__} {lines[0] if lines else ''}".strip())
    said = [f"{len(found)} of {len(names)} models"]
    if any(value is not None for value in found):
        said.append(f"at most {max(found):.1e} apart")
    said += bad + [f"no time for {', '.join(left)}"] * bool(left)
    return Row(what, "; ".join(said), not bad and not left, time.perf_counter() - start)


def rows(device: str, names: list[str], end: float) -> Iterator[Row]:
    waiting = "no step waits for the GPU" if device == "cuda" else "waits are not looked for"
    yield over(f"trains and draws; {waiting}", trains, names, device, end)
    with exact():
        yield over("computes what the CPU does", is_as_on_the_cpu, names, device, end)
        again = [name for name in names if name in RESUMED]
        yield over("resumes to the bit", resumes, again, device, end)
    size, start = SIZES[device], time.perf_counter()
    hand = min(by_hand(size, device) for _ in range(size.times))
    what = f"a step of DCGAN, {size.side}x{size.side}, batch {size.batch}"
    yield Row(f"{what}, by hand", f"{hand:.2f} ms", True, time.perf_counter() - start)
    for name, speed in SPEEDS.items():
        start = time.perf_counter()
        if start > end:
            yield Row(f"{what}, {name}", "no time", False, 0.0)
            continue
        try:
            step = min(speed(size, device) for _ in range(size.times))
            found, good = f"{step:.2f} ms, {step / hand:.2f} times as long", True
        except Exception as error:
            found, good = f"{type(error).__name__} {str(error).splitlines()[0]}", False
        yield Row(f"{what}, {name}", found, good, time.perf_counter() - start)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m tests.gpu", description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--models", nargs="+", choices=sorted(MODELS), default=sorted(MODELS))
    parser.add_argument("--out", type=Path, help="a file for the table, beside the terminal")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        print("--device must be cpu: torch finds no GPU", file=sys.stderr)
        return 2
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    start = time.perf_counter()
    name = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    lines = [
        f"{name}, torch {torch.__version__}, Lightning {L.__version__}",
        "",
        "| check | found | | seconds |",
        "|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    good = True
    for row in rows(options.device, options.models, start + 60 * MINUTES):
        verdict = "as it should be" if row.good else "**not as it should be**"
        lines.append(f"| {row.check} | {row.found} | {verdict} | {row.seconds:.0f} |")
        print(lines[-1], flush=True)
        good = good and row.good
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
