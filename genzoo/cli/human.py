"""`genzoo human`: ask people which images are real.

`genzoo human export` writes a study for the browser, `genzoo human analyse` reads the answers of
the raters. Torch is imported only to read or to generate images.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..checks import in_words
from ..files import write_whole
from ..human import ANSWERS, Analysis, analyse, cues, export_study, section, verdict
from ..report.card import Report

LOSSY = {".jpg", ".jpeg", ".webp"}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `genzoo human ...`; returns the exit code: 0, 1 for a failure, 2 for a misuse."""
    parser = _parser()
    try:
        options, rest = parser.parse_known_args(argv)
        foreign = [x for x in rest if not x.startswith("--data.")] if rest else []
        if rest and (options.run is not _export or foreign[:1] == rest[:1]):
            parser.error(f"there is no option {rest[0]}.{_meant(rest[0], parser, options)}")
        options.run(options, rest)
    except SystemExit as exit:
        return exit.code if isinstance(exit.code, int) else int(exit.code is not None)
    except (ValueError, TypeError, OSError) as error:
        print(f"genzoo human: {in_words(error)}", file=sys.stderr)
        return 1
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        self.exit(2, f"genzoo human: {message}\n")


def _parser() -> _Parser:
    parser = _Parser(prog="genzoo human", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="export | analyse", dest="command")

    export = commands.add_parser(
        "export",
        help="write a study: a folder to publish and a key to keep",
        description="Writes a study: a folder to publish, and beside it a key to keep.",
        epilog="example: genzoo human export --samples runs/DCGAN-FashionMNIST/version_0/"
        "checkpoints/last.ckpt --data FashionMNIST --output study",
        allow_abbrev=False,
    )
    export.set_defaults(run=_export)
    add = export.add_argument
    add("--samples", required=True, help="a checkpoint, a folder of images, or an .npz (`images`)")
    add("--model", help="the checkpoint's class, my_file.Mine, if that is your own")
    add(
        "--data",
        required=True,
        help="a data set, whose test images are shown (its options as --data.root DIR), "
        "or a folder of real images",
    )
    add("--output", required=True, type=Path, help="a new folder")
    add("--mode", choices=tuple(ANSWERS), default="single", help="one image at a time (single)")
    add("--num_real", type=int, default=50, help="real images (50)")
    add("--num_generated", type=int, default=50, help="generated images (50)")
    add("--attention_checks", type=int, default=5, help="trials with an image of noise (5)")
    add("--size", type=int, default=256, help="small images are enlarged up to this side (256)")
    add("--title", default="Real or fake?", help="above the page (Real or fake?)")
    add("--seed", type=int, default=0, help="of the samples and of the draw of images (0)")

    analyse = commands.add_parser(
        "analyse",
        help="read the answers",
        description="Reads the answers: the error rate with its interval over raters.",
        epilog="example: genzoo human analyse answers-*.csv --key study-key.json",
        allow_abbrev=False,
    )
    analyse.set_defaults(run=_analyse)
    add = analyse.add_argument
    add("answers", nargs="+", type=Path, metavar="ANSWERS.csv", help="as the raters sent them")
    add("--key", required=True, type=Path, help="the key that export wrote")
    add("--output", type=Path, help="a folder for judge.json and judge.md")
    add("--report", type=Path, help="a run whose report card gets this as a section")
    add("--resamples", type=int, default=10_000, help="of the raters (10,000)")
    add("--seed", type=int, default=0, help="of the resampling (0)")
    return parser


def _meant(option: str, parser: _Parser, options: argparse.Namespace) -> str:
    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    known = commands.choices[options.command]._option_string_actions
    close = get_close_matches(option.partition("=")[0], known, n=1, cutoff=0.6)
    return f" Did you mean {close[0]}?" if close else ""


# ---------------------------------------------------------------------------------------- export


@dataclass
class _Pool:
    """Images from which those of the study are drawn.

    Args:
        images: (N, C, H, W) uint8.
        origin: Description of their source, for the key.
        lossy: Whether their files have lossy compression.
    """

    images: NDArray[np.uint8]
    origin: str
    lossy: bool = False


def _export(options: argparse.Namespace, data_options: list[str]) -> None:
    reals = options.num_real + options.attention_checks * (options.mode == "pairs")
    real = _real(options.data, data_options, reals, options.seed)
    generated = _generated(options.samples, options.model, options.num_generated, options.seed)
    key = export_study(
        real.images,
        generated.images,
        options.output,
        mode=options.mode,
        num_real=options.num_real,
        num_generated=options.num_generated,
        attention_checks=options.attention_checks,
        size=options.size,
        title=options.title,
        seed=options.seed,
        protocol={"data": real.origin, "samples": generated.origin},
    )
    warnings = cues(real.images, generated.images)
    if real.lossy != generated.lossy:
        which = "real" if real.lossy else "generated"
        warnings.append(f"only the {which} images come from lossy files (JPEG, WebP)")
    for warning in warnings:
        print(f"genzoo human: warning: this gives the answers away: {warning}", file=sys.stderr)
    folder = options.output
    print(
        f"publish  {folder}: open {folder / 'index.html'}, or put the folder on any web server\n"
        f"keep     {key}: it has the answers, so no rater may see it\n"
        f"then     genzoo human analyse answers-*.csv --key {key}"
    )


def _real(data: str, data_options: list[str], n: int, seed: int) -> _Pool:
    """The test images of a data set, or n images of a folder."""
    from .. import datamodules

    kind = getattr(datamodules, data, None)
    if not (isinstance(kind, type) and issubclass(kind, datamodules.ImageData)):
        if not Path(data).is_dir():
            from ..catalogue import data as known

            names = ", ".join(entry.name for entry in known())
            raise ValueError(f"--data must be a folder of images or one of {names}, got {data}")
        if data_options:
            raise ValueError(f"{data_options[0]} must come with a data set, got the folder {data}")
        return _folder(Path(data), n, seed)
    module = _instance(kind, data_options)
    return _Pool(module.split("test").images.numpy(), f"{module.name} test")


def _instance(kind: type, arguments: list[str]):
    """A data set from its options, which are those of `genzoo fit`."""
    from jsonargparse import ArgumentError, ArgumentParser

    from ..runs.suggestions import unknown

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, "data")
    try:
        settings = parser.parse_args(arguments).data
    except ArgumentError as error:
        options = [name for action in parser._actions for name in action.option_strings]
        raise ValueError(f"--data {kind.__name__}: {unknown(str(error), options)}") from error
    return kind(**settings.as_dict())


def _generated(samples: str, model_class: str | None, n: int, seed: int) -> _Pool:
    path = Path(samples)
    if model_class is not None and path.suffix != ".ckpt":
        raise ValueError(f"--model must be left out for samples that are drawn, got {model_class}")
    if path.is_dir():
        return _folder(path, n, seed)
    if path.suffix == ".npz":
        return _Pool(_npz(path), path.name)
    if path.suffix == ".ckpt":
        return _drawn(samples, model_class, n, seed)
    raise ValueError(f"--samples must be a folder, an .npz or a .ckpt, got {samples}")


def _drawn(checkpoint: str, model_class: str | None, n: int, seed: int) -> _Pool:
    """n samples of a model."""
    from ..runs.suggestions import Misuse
    from .sample import draw, sampler

    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # at the end: a user's file hides no installed package
    try:
        model = sampler(checkpoint, model_class)
    except Misuse as error:
        _Parser().error(str(error))
    images = draw(model, n, None, 100, seed).numpy()
    return _Pool(images, f"{type(model).__name__} {Path(checkpoint).name}")


def _npz(path: Path) -> NDArray[np.uint8]:
    """The array `images` of a file as (N, C, H, W); in the file (N, H, W, C) or (N, C, H, W)."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if "images" not in arrays:
                raise ValueError(f"{path} must hold an array `images`, got {', '.join(arrays)}")
            images = arrays["images"]
    except (OSError, EOFError) as error:
        raise ValueError(f"--samples must be a whole .npz file, got {path}: {error}") from error
    if images.ndim == 4 and images.shape[1] not in (1, 3):
        images = np.moveaxis(images, -1, 1)
    return images


def _folder(folder: Path, n: int, seed: int) -> _Pool:
    """n images of a folder at their own size, or all images if there are fewer."""
    from PIL import Image, ImageOps

    from ..datamodules.folder import BROKEN, as_array, list_images

    paths = list_images(folder)
    chosen = [paths[i] for i in np.random.default_rng(seed).permutation(len(paths))[: max(n, 0)]]
    images = []
    for path in chosen:
        try:
            with Image.open(path) as file:
                images.append(as_array(ImageOps.exif_transpose(file), channels=3))
        except BROKEN as error:
            raise ValueError(f"{path} must be a whole image file, got: {error}") from error
        if images[-1].shape != images[0].shape:
            sizes = ["x".join(map(str, image.shape[:2])) for image in (images[0], images[-1])]
            raise ValueError(f"{folder} must hold images of one size, got {' and '.join(sizes)}")
    lossy = any(path.suffix.lower() in LOSSY for path in chosen)
    return _Pool(np.stack(images).transpose(0, 3, 1, 2), folder.resolve().name, lossy)


# --------------------------------------------------------------------------------------- analysis


def _analyse(options: argparse.Namespace, _: list[str]) -> None:
    if options.resamples < 1000:
        raise ValueError(f"--resamples must be at least 1000, got {options.resamples}")
    analysis = analyse(options.answers, options.key, resamples=options.resamples, seed=options.seed)
    show(analysis)
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        write_whole(options.output / "judge.json", analysis.to_json() + "\n")
        write_whole(options.output / "judge.md", analysis.to_markdown())
    if options.report is not None:
        add_to_report(analysis, options.report)


def show(analysis: Analysis) -> None:
    """Prints the analysis to the terminal."""
    from rich import box, get_console
    from rich.markup import escape
    from rich.table import Table

    console = get_console()
    sentence, flag = verdict(analysis)
    colour = {"good": "green", "bad": "red", "unsure": "yellow"}[flag]
    console.print(f"[bold]Do people see that it is generated?[/] [{colour}]{flag}[/]")
    console.print(escape(sentence))
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("")
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("95 % interval", style="dim")
    for row in analysis.rows():
        table.add_row(*map(escape, row))
    console.print(table)
    for note in analysis.notes:
        console.print(f"- {escape(note)}", style="dim")


def add_to_report(analysis: Analysis, run: Path) -> None:
    """Adds the analysis to the report card of a run, in place of an earlier one."""
    path = run / "report.json" if run.is_dir() else run
    if not path.is_file():
        raise ValueError(f"--report must be a run that has a report.json, got {run}")
    report, found = Report.from_json(path), section(analysis)
    report.sections = [old for old in report.sections if old.title != found.title] + [found]
    report.write(path)
