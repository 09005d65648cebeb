"""A GPU where there is none: shapes, types and devices are followed, and no number is computed.

Under `FakeTensorMode` a tensor knows that it is on "cuda" and refuses to meet one that is not. So
a training runs as Lightning runs it, hooks, players and optimizers included, and whatever makes
the host wait for the GPU is noted with the line that asks for it. Gradients are made up: torch's
engine for them wants a real device.
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import lightning as L
import torch
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from tests.helpers.training import trainer

GPU = torch.device("cuda", 0)
ROOT = Path(__file__).resolve().parents[2]
OURS = tuple(str(ROOT / folder) for folder in ("zoo", "callbacks", "genzoo"))
aten = torch.ops.aten
# Their results are as long as the numbers say, so the host must have these first.
AS_LONG_AS_NUMBERS_SAY = {
    aten.nonzero: lambda x: torch.zeros(x.numel(), x.dim(), dtype=torch.long, device=x.device),
    aten.masked_select: lambda x, mask: x.new_zeros(x.numel()),
    aten._unique2: lambda x, *_: (x.flatten(), x.long(), x.long().flatten()),
    aten.equal: lambda x, other: True,
}


@dataclass(frozen=True)
class Wait:
    """The host waits for the GPU, once."""

    operation: str  # of torch
    file: str  # of ours, from the root of the project
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}  ({self.operation})"


class Waits(TorchDispatchMode):
    """Notes what the host waits for. It is told 1, or true, or that all are meant.

    Attributes:
        found: The waits while `noting`.
    """

    def __init__(self):
        super().__init__()
        self.found: list[Wait] = []
        self.noting = False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        packet = func.overloadpacket
        if packet is aten._local_scalar_dense:
            x = args[0]
            if x.device == GPU:
                self.note("a number")
            elif (known := getattr(x, "constant", None)) is not None:
                return known.item()
            return x.dtype == torch.bool or (1.0 if x.dtype.is_floating_point else 1)
        if packet in AS_LONG_AS_NUMBERS_SAY and args[0].device == GPU:
            self.note(packet.__name__)
            return AS_LONG_AS_NUMBERS_SAY[packet](*args, **kwargs)
        if packet in (aten.index, aten.index_put, aten.index_put_) and args[0].device == GPU:
            x, places, *values = args
            masks = [k for k, p in enumerate(places) if p is not None and p.dtype == torch.bool]
            # One value for all that a mask chooses is a masked_fill, which waits for nothing.
            if masks and not (values and values[0].numel() == 1):
                self.note("a mask as an index")
            if masks and not values:
                (k,) = masks
                everything = torch.arange(places[k].numel(), device=GPU)
                if places[k].dim() > 1:
                    x = x.flatten(k, k + places[k].dim() - 1)
                return func(x, [*places[:k], everything, *places[k + 1 :]])
        if packet in (aten._to_copy, aten.copy_) and not kwargs.get("non_blocking"):
            target = kwargs.get("device") if packet is aten._to_copy else args[0].device
            source = args[1 if packet is aten.copy_ else 0].device
            if target is not None and GPU in (target, source) and target != source:
                self.note(f"a copy from {source.type} to {torch.device(target).type}")
        one_each = packet is aten.multinomial and (args[1] == 1 or not (args + (False,))[2])
        if (one_each and args[0].device == GPU) or packet is aten._linalg_check_errors:
            self.note(f"a check in {packet.__name__}")
        return func(*args, **kwargs)

    def note(self, operation: str) -> None:
        if self.noting:
            ours = [f for f in traceback.extract_stack() if f.filename.startswith(OURS)]
            place = ours[-1] if ours else traceback.extract_stack()[-3]
            file = place.filename.removeprefix(f"{ROOT}/")
            self.found.append(Wait(operation, file, place.lineno, place.line))


def moved(module: nn.Module) -> None:
    """The module's weights and buffers to the pretended GPU, where they stand.

    What else it holds stays on the CPU, as it would. `Module.to` cannot do this for fake tensors.
    """
    there: dict[Tensor, Tensor] = {}
    for part in module.modules():
        for held in (part._parameters, part._buffers):
            for name, x in held.items():
                if x is not None and x not in there:
                    empty = torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=GPU)
                    weight = isinstance(x, nn.Parameter)
                    there[x] = nn.Parameter(empty, x.requires_grad) if weight else empty
                held[name] = there.get(x)
        if isinstance(part, L.LightningModule):
            part._device = GPU


class Pretended(SingleDeviceStrategy):
    """Lightning's way with one device, which is not there."""

    def __init__(self):
        super().__init__(GPU, accelerator=CPUAccelerator())

    def setup_environment(self) -> None:
        """Nothing to be asked of a device that is not there."""

    def model_to_device(self) -> None:
        moved(self.model)

    def backward(self, closure_loss: Tensor, *_, **__) -> Tensor:
        give_gradients(self.model)
        return closure_loss

    def teardown(self) -> None:
        """Nothing to be given back."""


def give_gradients(module: nn.Module) -> None:
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.empty_like(parameter)


def made_up(outputs, gradients, keep, create, inputs, *_, **__) -> tuple[Tensor, ...]:
    """Gradients of the inputs' shapes, which depend on them."""
    return tuple(x * 1 for x in inputs)


@contextmanager
def pretended_gpu() -> Iterator[Waits]:
    """Tensors made within are fake; gives what notes the waits."""
    with FakeTensorMode(allow_non_fake_inputs=True), Waits() as waits:
        with (
            patch("torch.autograd._engine_run_backward", made_up),
            patch("torch.Tensor.__deepcopy__", lambda x, memo: x.clone()),  # torchmetrics' states
        ):
            yield waits


class FromSecondBatch(L.Callback):
    """Notes what the steps wait for, but for the first, which checks and sets up."""

    def __init__(self, waits: Waits):
        self.waits = waits

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.waits.noting = batch_idx > 0

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.waits.noting = False


def trained(module: L.LightningModule, data, batches: int, **settings) -> list[Wait]:
    """Trains for so many batches; gives what the host waited for after the first."""
    with pretended_gpu() as waits:
        runner = trainer(
            accelerator="auto",
            devices="auto",
            strategy=Pretended(),
            limit_train_batches=batches,
            max_epochs=1,
            callbacks=[FromSecondBatch(waits)],
            **settings,
        )
        runner.fit(module, data)
    return waits.found
