"""`genzoo sample`: images of a checkpoint, from nothing but its file."""

import argparse
import math
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid
from tqdm.auto import tqdm

from ..images import check_images, to_uint8
from .checkpoint import load_model
from .hints import Misuse, hint, unknown
from .protocols import Sampler

LEGIBLE = 32  # pixels a side, below which a picture of pictures is enlarged


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        options = [option for action in self._actions for option in action.option_strings]
        raise Misuse(unknown(message, options))


def sample(args: list[str]) -> None:
    """Draws and writes; says where."""
    parser = _Parser(prog="genzoo sample", description=__doc__, allow_abbrev=False)
    parser.add_argument("--ckpt_path", required=True, help="a checkpoint: a file or an address")
    parser.add_argument("--n", type=int, default=64, help="how many images (64)")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("samples.png"),
        help="x.png: one picture of all; x.npz: an array `images`, uint8 (n, H, W, C); "
        "a name without suffix: a folder of PNG files (samples.png)",
    )
    parser.add_argument("--seed", type=int, default=0, help="the same seed, the same images (0)")
    parser.add_argument("--y", help="classes of a conditional model: 3 or cat, or 0,1,2 in turn")
    parser.add_argument("--batch_size", type=int, default=100, help="images at a time (100)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (a GPU where there is one)")
    options = parser.parse_args(args)
    for name in ("n", "batch_size"):
        if getattr(options, name) < 1:
            raise Misuse(f"--{name} must be at least 1, got {getattr(options, name)}")
    check_output(options.output)

    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    model = load_model(options.ckpt_path, device=device)
    if not isinstance(model, Sampler):
        raise TypeError(f"{type(model).__name__} cannot draw images: it has no sample(n, y=None)")
    labels = classes(options.y, options.n, getattr(model, "class_names", ()))
    images = draw(model, options.n, labels, options.batch_size, options.seed)
    write(images, labels, options.output)
    print(f"{options.n} images of {type(model).__name__} in {options.output}")


def draw(model, n: int, y: Tensor | None, batch_size: int, seed: int) -> Tensor:
    """uint8 (n, C, H, W) on the CPU; points stay floats (n, D)."""
    torch.manual_seed(seed)
    images = []
    with torch.no_grad(), tqdm(total=n, unit="image", disable=None) as bar:
        for start in range(0, n, batch_size):
            part = None if y is None else y[start : start + batch_size]
            x = model.sample(min(batch_size, n - start), part)
            if x.ndim == 4:
                check_images(x, x.shape[1:], f"{type(model).__name__}.sample")
                x = to_uint8(x)
            images.append(x.cpu())
            bar.update(len(x))
    return torch.cat(images)


def classes(y: str | None, n: int, names: Sequence[str] = ()) -> Tensor | None:
    """ "3", "cat" or "0,1,2" as n labels, in turn; a name comes before a number.

    Args:
        names: Of the model's classes, in the order of their labels.
    """
    if y is None:
        return None
    known = {name: label for label, name in enumerate(names)}
    asked = [y] if y in known else [word.strip() for word in y.split(",")]
    labels = []
    for word in asked:
        if word not in known and not word.isdecimal():
            kinds = "numbers or names of classes as 3, cat" if names else "numbers of classes as 3"
            raise Misuse(f"--y must be {kinds} or 0,1,2, got {y}." + hint(word, names))
        labels.append(known[word] if word in known else int(word))
    return torch.tensor(labels).repeat(math.ceil(n / len(labels)))[:n]


def check_output(output: Path) -> None:
    """Refuses before the work what could not be written after it."""
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
    """Beside its place first and then moved there, so that nothing half-written is left."""
    if images.ndim != 4 and output.suffix != ".npz":
        raise ValueError(f"output must be .npz for what are no images, got {output}")
    folder = Path(tempfile.mkdtemp(prefix=".genzoo-", dir=output.parent))
    part = folder / output.name
    try:
        if output.suffix == ".npz":
            arrays = {"images": images.movedim(1, -1).numpy() if images.ndim == 4 else images}
            if labels is not None:
                arrays["labels"] = labels.numpy()
            np.savez_compressed(part, **arrays)
        elif output.suffix == ".png":
            scale = math.ceil(LEGIBLE / images.shape[-1])
            large = images.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
            picture = make_grid(large, nrow=math.ceil(math.sqrt(len(images))), pad_value=255)
            save(picture, part)
        else:
            part.mkdir()
            for index, image in enumerate(images):
                save(image, part / f"{index:06d}.png")
        part.replace(output)
    finally:
        shutil.rmtree(folder)


def save(image: Tensor, path: Path) -> None:
    """uint8 (C, H, W) with 1 or 3 channels."""
    array = image.movedim(0, -1).numpy()
    Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).save(path)
