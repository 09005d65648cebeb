"""Measures an example: trains it and keeps the figures of its report card, its time, a picture.

    python results/measure.py examples/conditional/ccgan.yaml
    python results/measure.py examples/gan/gan.yaml --data.root FOLDER

What stands behind the YAML goes to `genzoo fit`; all but the folder of the data is kept too. It
writes results/examples/<model>.json and docs/pictures/<model>.png, of which `python docs/make.py`
makes the model's page. One torch thread: the time is that of one core.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from genzoo import __version__  # noqa: E402
from genzoo.report.card import Report, finite  # noqa: E402

WIDEST = 900  # pixels of a picture


def cpu_seconds() -> float:
    """Of all processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def commit() -> str:
    """Of this checkout; with a + where files differ from it, "" where there is no git."""
    try:
        found = [
            subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
            for words in (("rev-parse", "--short=12", "HEAD"), ("status", "--porcelain"))
        ]
    except (OSError, subprocess.CalledProcessError):
        return ""
    return found[0].stdout.strip() + ("+" if found[1].stdout.strip() else "")


def absolute(words: list[str]) -> list[str]:
    """The same words, files and folders by their whole path."""
    return [str(Path(word).resolve()) if Path(word).exists() else word for word in words]


def kept(words: list[str]) -> list[str]:
    """Without the folder of the data, which is another's on another machine."""
    found = []
    words = iter(words)
    for word in words:
        if word == "--data.root":
            next(words, None)
        elif not word.startswith("--data.root="):
            found.append(word)
    return found


def train(example: Path, words: list[str], folder: Path) -> tuple[Path, float]:
    """The newest card, and the CPU-seconds that it cost.

    Raises:
        RuntimeError: the training failed, or no card was made.
    """
    command = [sys.executable, "-m", "genzoo", "fit", "--config", str(example.resolve())]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    words, before = absolute(words), cpu_seconds()
    done = subprocess.run([*command, *words], cwd=folder, env=environment)
    if done.returncode:
        raise RuntimeError(f"genzoo fit ended with code {done.returncode}")
    cards = sorted(folder.rglob("report.json"), key=lambda path: path.stat().st_mtime)
    if not cards:
        raise RuntimeError("genzoo fit made no report card: without --test_after_fit false it does")
    return cards[-1], cpu_seconds() - before


def figures(card: Path, example: Path, words: list[str], seconds: float) -> dict[str, Any]:
    """What is kept: the headlines of each section, with all that is needed to repeat them."""
    report = Report.from_json(card)
    sections = {
        section.title: {
            "question": section.question,
            "flag": section.flag,
            "verdict": section.verdict,
            "numbers": {
                name: {"value": number.shown, "interval": number.interval}
                for name, number in section.headlines.items()
            },
        }
        for section in report.sections
    }
    return {
        "model": report.model,
        "data": report.data,
        "step": report.step,
        "example": str(example.resolve().relative_to(ROOT)),
        "arguments": kept(words),
        "cpu_seconds": round(seconds),
        "protocol": report.protocol,
        "versions": {
            "genzoo": __version__,
            "torch": version("torch").partition("+")[0],
            "lightning": version("lightning"),
            "python": platform.python_version(),
        },
        "commit": commit(),
        "sections": sections,
    }


def picture(card: Path, out: Path) -> None:
    """The samples of the card, drawn at random; its first picture where there are none."""
    shown = Report.from_json(card).figures
    if not shown:
        raise RuntimeError(f"a card must have pictures, got none in {card}")
    image = Image.open(shown.get("samples") or next(iter(shown.values()))).convert("RGB")
    if image.width > WIDEST:
        size = WIDEST, round(image.height * WIDEST / image.width)
        image = image.resize(size, Image.Resampling.LANCZOS)
    out.parent.mkdir(parents=True, exist_ok=True)
    image.quantize(128).save(out, optimize=True)


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("example", type=Path, help="a YAML of examples/")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "examples")
    parser.add_argument("--pictures", type=Path, default=ROOT / "docs" / "pictures")
    options, rest = parser.parse_known_args(words)
    if not options.example.is_file():
        parser.error(f"example must be a YAML file, got {options.example}")
    stem = options.example.stem
    with tempfile.TemporaryDirectory() as folder:
        card, seconds = train(options.example, rest, Path(folder))
        content = finite(figures(card, options.example, rest, seconds))
        options.results.mkdir(parents=True, exist_ok=True)
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        (options.results / f"{stem}.json").write_text(text + "\n", encoding="utf-8")
        picture(card, options.pictures / f"{stem}.png")
    print(f"{options.results / stem}.json: {content['cpu_seconds']} CPU-seconds")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
