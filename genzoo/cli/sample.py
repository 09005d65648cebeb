"""`genzoo sample`: samples of a model, from its checkpoint alone."""

import argparse
import inspect
import itertools
import math
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid
from tqdm.auto import tqdm

from ..batches import size, take
from ..checks import on_this_machine
from ..conditions import Condition, asked_of
from ..images import check_images, to_uint8
from ..protocols import Sampler
from ..runs.checkpoints import NotOurs, import_class, load_model
from ..runs.folders import newest_checkpoint
from ..runs.suggestions import Misuse, hint, unknown

LEGIBLE = 32  # pixels a side, below which the images of a grid are enlarged
LARGEST = 20_000  # largest side of a grid in pixels
MANY = 1_000_000  # conditions that are written at a time
FILES = (".npz", ".png", ".jpg", ".jpeg")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        options = [option for action in self._actions for option in action.option_strings]
        raise Misuse(unknown(message, options))


def sample(args: list[str]) -> None:
    """Runs `genzoo sample ...`: generates images and writes them."""
    parser = _Parser(prog="genzoo sample", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--ckpt_path",
        required=True,
        help="a checkpoint: a file, an address, or last: the one written last in the folder runs",
    )
    parser.add_argument("--model", help="its class, my_file.Mine, if that is your own")
    parser.add_argument("--n", type=int, default=64, help="how many images (64)")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("samples.png"),
        help="x.png: one picture of all; x.npz: an array `images`, uint8 (n, H, W, C); "
        "a name without suffix: a folder of PNG files (samples.png)",
    )
    parser.add_argument("--seed", type=int, default=0, help="the same seed, the same images (0)")
    parser.add_argument(
        "--y",
        help="the condition: a class, 3 or cat, or 0,1,2 in turn; words, 'a red bird'; numbers, "
        "0.5,-1; a file .npz of many conditions (an array y, or arrays of the parts' names), or a "
        "picture .png; without it conditions are random, or those of training images",
    )
    parser.add_argument("--batch_size", type=int, default=100, help="images at a time (100)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (a GPU where there is one)")
    walks = parser.add_argument_group("of models that draw step by step, where they have it")
    walks.add_argument("--steps", type=int, help="how many (as the model was made)")
    walks.add_argument(
        "--guidance", type=float, help="strength of the condition; 1: as it was trained"
    )
    walks.add_argument("--sampler", help="euler, heun, ... (as the model was made)")
    options = parser.parse_args(args)
    for name in ("n", "batch_size"):
        if getattr(options, name) < 1:
            raise Misuse(f"--{name} must be at least 1, got {getattr(options, name)}")
    if not 0 <= options.seed < 2**63:
        raise Misuse(f"--seed must be in 0..{2**63 - 1}, got {options.seed}")
    check_output(options.output)

    device = usable(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    path = options.ckpt_path
    if path == "last":
        path = newest_checkpoint(Path("runs"))
        if path is None:
            raise Misuse("there is no checkpoint in the folder runs to sample from")
        print(f"genzoo: {path}")
    model = sampler(path, options.model, device)
    how = accepted(
        model, {name: getattr(options, name) for name in ("steps", "guidance", "sampler")}
    )
    y = conditions_of(model, options.y, options.n, options.seed)
    pieces = drawn(model, options.n, y, options.batch_size, options.seed, **how)
    write_pieces(pieces, options.n, y, options.output)
    print(f"{options.n} images of {type(model).__name__} in {options.output}")


def sampler(path: str | Path, class_path: str | None, device: Any = "cpu") -> Any:
    """The model of a checkpoint; `class_path` is needed for a user's own class only.

    Raises:
        Misuse: if a user's own class is not given, or does not exist.
        TypeError: if the model has no `sample`.
    """
    try:
        model = load_model(path, class_path and named(class_path), device=device)
    except NotOurs as error:
        instead = f"give --model {error.class_path} too, if it is yours"
        raise Misuse(str(NotOurs(path, error.class_path, instead))) from error
    if not isinstance(model, Sampler):
        raise TypeError(f"{type(model).__name__} cannot draw images: it has no sample(n, y=None)")
    return model


def accepted(model: Any, how: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a model's `sample`, besides n and y, that are given, by name.

    Raises:
        Misuse: `sample` has no such argument.
    """
    taken = inspect.signature(model.sample).parameters
    for name, value in how.items():
        if value is not None and name not in taken:
            others = ", ".join(f"--{other}" for other in how if other in taken)
            instead = f"only {others}" if others else "none such"
            raise Misuse(
                f"--{name} must be left out, got {value}: {type(model).__name__} takes {instead}"
            )
    return {name: value for name, value in how.items() if value is not None}


def usable(name: str) -> torch.device:
    """The device of this name; a misuse if this machine does not have it."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        why = str(error).splitlines()[0]
        raise Misuse(f"--device must be a device of this machine, got {name}: {why}") from None
    return device


def named(class_path: str) -> type:
    """A model's class, from an import path or from a short name of genzoo's models."""
    try:
        found = import_class(class_path if "." in class_path else f"genzoo.zoo.{class_path}")
    except (ImportError, AttributeError) as error:
        raise Misuse(f"--model {class_path} is not there: {error}") from None
    if not (isinstance(found, type) and issubclass(found, L.LightningModule)):
        raise Misuse(f"--model must be a LightningModule, got {class_path}")
    return found


def draw(model, n: int, y: Tensor | None, batch_size: int, seed: int) -> Tensor:
    """n samples on the CPU, uint8 (n, C, H, W); points are floats (n, D)."""
    parts = None if y is None else (lambda start, stop: y[start:stop])
    return torch.cat([*drawn(model, n, parts, batch_size, seed)])


def drawn(
    model, n: int, y: "Conditions | None", batch_size: int, seed: int, **how: Any
) -> Iterator[Tensor]:
    """The samples of `draw`, in batches.

    Args:
        how: Further arguments of `model.sample`.
    """
    torch.manual_seed(seed)
    with torch.no_grad(), tqdm(total=n, unit="image", disable=None) as bar:
        for start in range(0, n, batch_size):
            stop = min(start + batch_size, n)
            x = model.sample(stop - start, y and y(start, stop), **how)
            if x.ndim == 4:
                check_images(x, x.shape[1:], f"{type(model).__name__}.sample")
                x = to_uint8(x)
            yield x.cpu()
            bar.update(len(x))


Conditions = Callable[[int, int], Any]  # the y of images start..stop-1, from (start, stop)


def conditions_of(model, y: str | None, n: int, seed: int) -> Conditions | None:
    """The conditions of n images from the option --y, in turn. Without --y: None for classes, which
    the model draws, and random conditions of other kinds, so that they can be written too."""
    condition = asked_of(model)
    if y is not None and Path(y).suffix in FILES and Path(y).is_file():
        rows = read_conditions(Path(y), condition)
    elif not condition.from_data:
        return classes(y, n, getattr(model, "class_names", ()))
    elif y is None:
        torch.manual_seed(seed)
        rows = condition.draw(n, bank=getattr(model, "bank", None))
    else:
        try:
            rows = condition.encode(y)
        except ValueError as error:
            raise Misuse(f"--{error}") from None
    return lambda start, stop: take(rows, torch.arange(start, stop) % size(rows))


def read_conditions(path: Path, condition: Condition) -> Any:
    """y of a file: an .npz with an array `y`, or with an array for each part; or a picture."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: torch.from_numpy(file[name]) for name in file.files}
        names = [name for name, _ in getattr(condition, "parts", ())]
        if missing := [name for name in names or ["y"] if name not in arrays]:
            got = ", ".join(arrays) or "none"
            raise Misuse(
                f"--y must be a file with arrays {', '.join(missing)}, got {got} in {path}"
            )
        y = {name: arrays[name] for name in names} if names else arrays["y"]
    else:
        with Image.open(path) as picture:
            grey = getattr(condition, "shape", (3,))[0] == 1
            pixels = np.array(picture.convert("L" if grey else "RGB"))
        y = torch.from_numpy(pixels.reshape(1, *pixels.shape[:2], -1)).movedim(-1, 1)
    y = condition.read(y, torch.float32)
    try:
        condition.check(y, size(y))
    except ValueError as error:
        raise Misuse(f"--{error}, in {path}") from None
    return y


def classes(y: str | None, n: int, names: Sequence[str] = ()) -> Conditions | None:
    """Labels of n images from "3", "cat" or "0,1,2", in turn; names have precedence over numbers.

    Args:
        names: Names of the model's classes, in the order of their labels.
    """
    if y is None:
        return None
    known = {name: label for label, name in enumerate(names)}
    words = [y] if y in known else [word.strip() for word in y.split(",")]
    found = []
    for word in words:
        if word not in known and not word.isdecimal():
            kinds = "numbers or names of classes as 3, cat" if names else "numbers of classes as 3"
            raise Misuse(f"--y must be {kinds} or 0,1,2, got {y}." + hint(word, names))
        found.append(known[word] if word in known else int(word))
    labels = torch.tensor(found)
    return lambda start, stop: labels[torch.arange(start, stop) % len(labels)]


def check_output(output: Path) -> None:
    """Refuses an output that cannot be written, before images are generated."""
    on_this_machine(**{"--output": output})
    if output.suffix not in (".png", ".npz", ""):
        raise Misuse(f"--output must end in .png or .npz, or be a folder, got {output}")
    if output.suffix and output.is_dir():
        raise Misuse(f"--output must be a file to end in {output.suffix}, got the folder {output}")
    if (
        not output.suffix
        and output.exists()
        and not (output.is_dir() and not any(output.iterdir()))
    ):
        raise Misuse(f"--output must be a new or an empty folder, got {output}")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output.parent):
            pass
    except OSError as error:
        raise Misuse(f"--output must be in a folder that can be written to: {error}") from None


def write(images: Tensor, labels: Tensor | None, output: Path) -> None:
    """`write_pieces` for all images at once."""
    y = None if labels is None else (lambda start, stop: labels[start:stop])
    write_pieces([images], len(images), y, output)


def write_pieces(pieces: Iterable[Tensor], n: int, y: Conditions | None, output: Path) -> None:
    """Writes n images, which come in batches, with their conditions; the write is atomic.

    Raises:
        ValueError: if a grid would be too large, or points are to be written as pictures.
    """
    pieces = iter(pieces)
    first = next(pieces)
    pieces = itertools.chain([first], pieces)
    if first.ndim != 4 and output.suffix != ".npz":
        raise ValueError(f"output must be .npz for what are no images, got {output}")
    folder = Path(tempfile.mkdtemp(prefix=".genzoo-", dir=output.parent))
    part = folder / output.name
    try:
        if output.suffix == ".npz":
            with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as file:
                if first.ndim == 4:
                    pieces = (images.movedim(1, -1) for images in pieces)
                add(file, "images", n, pieces)
                if y is not None:
                    add_conditions(file, n, y)
        elif output.suffix == ".png":
            rows = math.ceil(math.sqrt(n))
            scale = math.ceil(LEGIBLE / first.shape[-1])
            if rows * max(first.shape[2:]) * scale > LARGEST:
                raise ValueError(
                    f"output must be .npz or a folder for {n} images, got {output}: one picture "
                    f"of them would be more than {LARGEST} pixels wide"
                )
            images = torch.cat([*pieces])
            large = images.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
            save(make_grid(large, nrow=rows, pad_value=255), part)
        else:
            part.mkdir()
            for index, image in enumerate(itertools.chain.from_iterable(pieces)):
                save(image, part / f"{index:06d}.png")
        part.replace(output)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(output)) from error
    finally:
        shutil.rmtree(folder)


def add_conditions(file: zipfile.ZipFile, n: int, y: Conditions) -> None:
    """Writes the conditions: labels as `labels`, parts by their names, other kinds as `y`."""
    first, starts = y(0, 1), range(0, n, MANY)
    parts = [*first] if isinstance(first, Mapping) else [None]
    for part in parts:
        rows = (y(s, min(s + MANY, n)) for s in starts)
        if part is not None:
            add(file, part, n, (some[part] for some in rows))
        else:
            add(file, "labels" if first.ndim == 1 else "y", n, rows)


def add(file: zipfile.ZipFile, name: str, n: int, pieces: Iterable[Tensor]) -> None:
    """Adds an array of n rows to an .npz file, in pieces that need not all be in memory."""
    with file.open(f"{name}.npy", "w", force_zip64=True) as entry:
        for index, piece in enumerate(pieces):
            rows = np.ascontiguousarray(piece.numpy())
            if index == 0:
                header = np.lib.format.header_data_from_array_1_0(rows)
                np.lib.format.write_array_header_2_0(
                    entry, header | {"shape": (n, *rows.shape[1:])}
                )
            entry.write(rows.tobytes())


def save(image: Tensor, path: Path) -> None:
    """Writes an image, uint8 (C, H, W) with 1 or 3 channels."""
    array = image.movedim(0, -1).numpy()
    Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).save(path)
