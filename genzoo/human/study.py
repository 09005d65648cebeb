"""Export of a study: a folder to publish, and a key that must not be published."""

import hashlib
import hmac
import html
import json
import math
import os
import random
import secrets
import tempfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import at_least
from .answers import ANSWERS, Mode

ONE_TIME = 946_684_800  # 2000-01-01, the time stamp of all images; zip files allow none before 1980


def export_study(
    real: ArrayLike,
    generated: ArrayLike,
    output: str | Path,
    *,
    mode: Mode = "single",
    num_real: int = 50,
    num_generated: int = 50,
    attention_checks: int = 5,
    size: int = 256,
    title: str = "Real or fake?",
    seed: int = 0,
    protocol: Mapping[str, str | int | float] | None = None,
) -> Path:
    """Writes a study: the folder `output` to publish and `output`-key.json to keep.

    Real and generated images are written alike: with equal sides, colour modes and encoder
    settings, without metadata, with one time stamp, and with names that are hashes under a secret
    of the key. The page does not hold the answers. If writing fails, no partial study is left.

    Args:
        real: Held-out images (N, C, H, W) uint8, of which `num_real` are drawn.
        generated: Samples (N, C, H, W) uint8 of the same size, of which `num_generated` are drawn.
        output: A folder that does not exist yet, or is empty.
        mode: "single", one image at a time, or "pairs", a real and a generated one side by side.
        num_real, num_generated: Numbers of real and of generated images.
        attention_checks: Number of trials with an image of noise in place of a generated one.
        size: Side in pixels to which small images are enlarged, by a whole factor, without blur.
        title: Heading of the page.
        seed: Seed of the draw of images. Names and order depend on a new secret, not on the seed.
        protocol: Further settings that are needed to repeat the study; they are kept in the key.

    Returns:
        The path of the key.

    Raises:
        ValueError: if the images do not match or are too few, or the output exists.
    """
    output = Path(output)
    key_path = output.with_name(f"{output.name}-key.json")
    if mode not in ANSWERS:
        raise ValueError(f"mode must be 'single' or 'pairs', got {mode!r}")
    at_least(1, num_real=num_real, num_generated=num_generated)
    at_least(0, attention_checks=attention_checks)
    if mode == "pairs" and num_real != num_generated:
        raise ValueError(f"num_generated must equal num_real in pairs, got {num_generated}")
    if mode == "pairs" and num_real < 2:
        raise ValueError(f"num_real must be at least 2 in pairs, got {num_real}")
    real, generated = _check(real, "real"), _check(generated, "generated")
    if real.shape[2:] != generated.shape[2:]:
        raise ValueError(
            f"generated must have the size of the real images, {real.shape[2:]}, "
            f"got {generated.shape[2:]}: a difference in size would be the answer"
        )
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"output must be a new or an empty folder, got {output}")
    if key_path.exists():
        raise ValueError(f"output must not overwrite the key of an earlier study, got {key_path}")

    rng = np.random.default_rng(seed)
    # An attention check in "pairs" needs a real image too, which no other trial shows.
    extra = attention_checks if mode == "pairs" else 0
    if num_real + extra > len(real):
        raise ValueError(f"num_real must be at most {len(real) - extra}, got {num_real}")
    if num_generated > len(generated):
        raise ValueError(f"num_generated must be at most {len(generated)}, got {num_generated}")
    real = real[rng.permutation(len(real))[: num_real + extra]]
    generated = generated[rng.permutation(len(generated))[:num_generated]]
    real, generated = _same_channels(real, generated)
    images = {
        "real": real,
        "generated": generated,
        "noise": rng.integers(0, 256, (attention_checks, *real.shape[1:]), dtype=np.uint8),
    }
    secret = secrets.token_hex(16)
    names = {kind: [_name(secret, kind, i) for i in range(len(x))] for kind, x in images.items()}
    if mode == "single":
        trials = [[name] for kind in names for name in names[kind]]
    else:
        trials = _pairs(names["real"], names["generated"] + names["noise"], num_real)
    trials.sort(key=min)  # by hash, an order that is independent of the answers
    study = {
        "study": _name(secret, "study", 0)[:12],
        "mode": mode,
        "scale": max(1, size // max(real.shape[2:])),
        "trials": trials,
    }
    rule = {
        "checks": attention_checks,
        "min_checks_right": math.ceil(0.8 * attention_checks),
        "one_answer_from": 10,
    }
    key = {
        **study,
        "rule": {**rule, "text": _rule_in_words(rule)},
        "secret": secret,
        "images": {name: kind for kind in names for name in names[kind]},
        "protocol": {
            "num_real": num_real,
            "num_generated": num_generated,
            "attention_checks": attention_checks,
            "image_shape": "x".join(map(str, real.shape[1:])),
            "shown_at": study["scale"] * max(real.shape[2:]),
            "seed": seed,
            **(protocol or {}),
        },
    }
    page = files(__package__).joinpath("study.html").read_text(encoding="utf-8")
    page = page.replace("__TITLE__", html.escape(title))
    page = page.replace("__STUDY__", json.dumps(study).replace("<", "\\u003c"))

    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as scratch:
        folder, draft = Path(scratch) / "study", Path(scratch) / "key.json"
        (folder / "images").mkdir(parents=True)
        written = [pair for kind in names for pair in zip(names[kind], images[kind], strict=True)]
        for name, image in sorted(written, key=lambda pair: pair[0]):  # the order reveals nothing
            _write_png(image, study["scale"], folder / "images" / f"{name}.png")
        (folder / "index.html").write_text(page, encoding="utf-8")
        draft.write_text(json.dumps(key, indent=1), encoding="utf-8")
        draft.replace(key_path)
        try:
            folder.rename(output)
        except OSError as error:
            key_path.unlink()
            raise ValueError(f"output must be writable, got {output}: {error.strerror}") from error
    return key_path


def cues(real: ArrayLike, generated: ArrayLike) -> list[str]:
    """Gross differences that reveal which images are real, one phrase each.

    Args:
        real: (N, C, H, W) uint8.
        generated: (N, C, H, W) uint8.
    """
    found = []
    two = [len(np.unique(x)) <= 2 for x in (real, generated)]
    if two[0] != two[1]:
        names = ("real", "generated") if two[0] else ("generated", "real")
        found.append(f"{names[0]} images have two levels only and {names[1]} ones more")
    grey = [_is_grey(np.asarray(x)) for x in (real, generated)]
    if grey[0] != grey[1]:
        names = ("real", "generated") if grey[0] else ("generated", "real")
        found.append(f"{names[0]} images are grey and {names[1]} ones have colour")
    return found


def _check(images: ArrayLike, argument: str) -> NDArray[np.uint8]:
    images = np.asarray(images)
    if images.dtype != np.uint8:
        raise ValueError(f"{argument} must be uint8 images, got {images.dtype}")
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"{argument} must be (N, 1 or 3, H, W) images, got {images.shape}")
    return images


def _is_grey(images: NDArray[np.uint8]) -> bool:
    return bool((images == images[:, :1]).all())


def _same_channels(
    a: NDArray[np.uint8], b: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Both with one channel if both are grey (also if stored as RGB), or else with three."""
    if _is_grey(a) and _is_grey(b):
        return a[:, :1], b[:, :1]
    return (
        np.broadcast_to(a, (len(a), 3, *a.shape[2:])),
        np.broadcast_to(b, (len(b), 3, *b.shape[2:])),
    )


def _name(secret: str, kind: str, index: int) -> str:
    return hmac.digest(bytes.fromhex(secret), f"{kind} {index}".encode(), hashlib.sha256).hex()[:16]


def _pairs(real: list[str], fake: list[str], checks_from: int) -> list[list[str]]:
    """Pairs [left, right] with the real image on the left in half of the pairs, and of the checks.

    The page shows all pairs in this order, or all of them mirrored, so each rater has both halves.
    """
    pairs = []
    for part in (slice(checks_from), slice(checks_from, None)):
        chosen = list(zip(real[part], fake[part], strict=True))
        random.SystemRandom().shuffle(chosen)  # not from the seed, which would reveal the answers
        pairs += [list(pair if i % 2 else pair[::-1]) for i, pair in enumerate(chosen)]
    return pairs


def _rule_in_words(rule: Mapping[str, int]) -> str:
    checks = (
        f"answers fewer than {rule['min_checks_right']} of the {rule['checks']} attention checks "
        "rightly, "
        if rule["checks"]
        else ""
    )
    return (
        f"A rater is left out who {checks}gives the same answer to everything "
        f"({rule['one_answer_from']} or more), or leaves one half without an answer."
    )


def _write_png(image: NDArray[np.uint8], scale: int, path: Path) -> None:
    from PIL import Image

    image = image.repeat(scale, axis=1).repeat(scale, axis=2).transpose(1, 2, 0)
    image = image[:, :, 0] if image.shape[2] == 1 else image
    Image.fromarray(np.ascontiguousarray(image)).save(path, format="PNG", compress_level=9)
    os.utime(path, (ONE_TIME, ONE_TIME))
