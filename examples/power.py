"""Which share of copies the report card finds, by how the copies were altered.

    python examples/power.py --data FOLDER --output docs/power.png       (ten minutes on one core)

Fashion-MNIST: 3,000 images trained on, 1,500 held out, 1,500 samples, of which a share are copies
of training images, altered in one way, and the rest fresh real images. For each share and kind it
is counted how often the card's test of memorisation finds something at its level of 1 %, over
draws of the copies and of the fresh images. At a share of 0 that is its rate of false alarms.
"""

import argparse
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from genzoo.callbacks import Evidence, Features, Memorisation
from genzoo.datamodules import FashionMNIST
from genzoo.features.extractors import Instance
from genzoo.features.spaces import Spaces
from genzoo.metrics.alterations import kinds, plant
from genzoo.metrics.copies import CopyTest, Nearest, pool

TRAIN, HELD_OUT, SAMPLES = 3000, 1500, 1500
SHARES = (0, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1)
SHOWN = 0.05  # of the figure's axis
COLOURS = ("#1b6ca8", "#d1495b", "#2e8b57", "#b8860b", "#7b4ea3", "#444444", "#e07a1f", "#17a2a2")


def spaces_of(images: torch.Tensor) -> Spaces:
    """All that depends on the real images alone."""
    train, held_out = images.split((TRAIN, HELD_OUT))
    space = Instance(images[pool(train, held_out).place])

    def seen(part):
        blocks = [space(block)[0] for block in part.split(500)]
        return Features(part, torch.cat(blocks))

    parts = seen(train), seen(held_out), seen(held_out[:20])
    evidence = Evidence(*parts, space, {})
    return Spaces(evidence, evidence, seed=0)


def looked_up(spaces: Spaces, images: torch.Tensor) -> dict[str, Nearest]:
    extractor, _ = spaces.real[spaces.copies]
    features = torch.cat([extractor(block)[0] for block in images.split(500)])
    return spaces.look(images, {spaces.copies: features})


def power(data: str, repeats: int, pool_size: int = 4500) -> dict[str, list[float]]:
    """For each kind the share of draws in which copies are found, in the order of SHARES."""
    images = FashionMNIST(data, download=True).split("train").images
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    images = images[order[: TRAIN + HELD_OUT + pool_size]]
    spaces = spaces_of(images[: TRAIN + HELD_OUT])
    fresh = looked_up(spaces, images[TRAIN + HELD_OUT :])
    generator = torch.Generator().manual_seed(1)
    found: dict[str, list[float]] = {}
    for kind in kinds(images.shape[-1]):
        copies = looked_up(spaces, plant(images[:TRAIN][:SAMPLES], kind, generator))
        found[kind] = []
        for share in SHARES:
            count = round(share * SAMPLES)
            hits = 0
            for repeat in range(repeats):
                honest = torch.randperm(pool_size, generator=generator)[: SAMPLES - count]
                copied = torch.randperm(SAMPLES, generator=generator)[:count]
                mixed = {
                    name: Nearest(
                        torch.cat([near.index[honest], copies[name].index[copied]]),
                        torch.cat([near.gap[honest], copies[name].gap[copied]]),
                    )
                    for name, near in fresh.items()
                }
                test = CopyTest(mixed, spaces.pool.trained, 499, seed=repeat)
                hits += test.p_copies <= Memorisation.LEVEL
            found[kind].append(hits / repeats)
        pairs = zip(SHARES, found[kind], strict=True)
        print(f"{kind:11}", "  ".join(f"{x:.0%} at {s:.1%}" for s, x in pairs), flush=True)
    return found


def drawn(found: dict[str, list[float]], width: int = 900, height: int = 520) -> Image.Image:
    """A line for each kind: share of copies against how often they are found."""
    image = Image.new("RGB", (2 * width, 2 * height), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(26)
    left, right, top, bottom = 130, 2 * width - 300, 60, 2 * height - 130

    def place(share: float, power: float) -> tuple[float, float]:
        x = left + (right - left) * share / SHOWN
        return x, bottom - (bottom - top) * power

    for tick in (0, 0.25, 0.5, 0.75, 1):
        draw.line([place(0, tick), place(SHOWN, tick)], fill="#dddddd", width=2)
        draw.text((left - 15, place(0, tick)[1]), f"{tick:.0%}", "black", font, anchor="rm")
    for tick in (0, 0.01, 0.02, 0.03, 0.04, 0.05):
        draw.text((place(tick, 0)[0], bottom + 15), f"{tick:.0%}", "black", font, anchor="ma")
    middle = (left + right) / 2
    draw.text((middle, bottom + 65), "share of copies among 1,500 samples", "black", font, "ma")
    draw.text((left, 15), "how often they are found, at 1 % of false alarms", "black", font)
    for at, (kind, powers) in enumerate(found.items()):
        pairs = zip(SHARES, powers, strict=True)
        points = [place(share, power) for share, power in pairs if share <= SHOWN]
        draw.line(points, fill=COLOURS[at], width=5, joint="curve")
        for x, y in points:
            draw.ellipse([x - 6, y - 6, x + 6, y + 6], fill=COLOURS[at])
        y = top + 60 * at
        draw.line([(right + 25, y + 15), (right + 75, y + 15)], fill=COLOURS[at], width=6)
        draw.text((right + 90, y), kind, "black", font)
    return image.resize((width, height), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default="data", help="where FashionMNIST is, or is to be put")
    parser.add_argument("--output", type=Path, default=Path("docs/power.png"))
    parser.add_argument("--repeats", type=int, default=40)
    options = parser.parse_args()
    drawn(power(options.data, options.repeats)).save(options.output)
