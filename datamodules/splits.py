"""The split into training and held-out images, and its record in a checkpoint.

Files are split by a hash of their names: if a file is removed or added, no other changes its part.
Data without names, whose images never change, are split by an order that is a function of the seed.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from .batches import generator
from .layout import places


def cut(
    total: int, sizes: Mapping[str, float], seed: int, names: Sequence[str] | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Indices of the training images, in random order, and those of each held-out part.

    >>> train, held = cut(10, {"test": 0.2, "val": 1}, seed=0)
    >>> len(train), {part: len(index) for part, index in held.items()}
    (7, {'test': 2, 'val': 1})

    Args:
        total: Number of images.
        sizes: Size of each held-out part: a fraction below 1 of all images, or a count. With names
            a fraction holds on average, since each name is decided separately, but gives at least
            one image; a count is exact, so that removing a file moves one image into each part.
        seed: Seed of the order.
        names: Names of all images; None: the order depends on the seed alone.

    Raises:
        ValueError: a part would be empty.
    """
    if names is None:
        order = torch.randperm(total, generator=generator("split", seed))
        ranked = None
    else:
        ranked, order = places(names, seed).sort(stable=True)
    held, upper = {}, 1.0
    for part, size in sizes.items():
        if size >= 1:
            count = int(size)
        elif ranked is None:
            count = round(size * total)
        else:
            upper -= size
            count = max(1, int((ranked[: len(order)] >= upper).sum()))
        if not 0 < count < len(order):
            example = f" (a count is possible, as --data.{part}_size 1)" if size < 1 else ""
            raise ValueError(
                f"{part}_size must leave images for every split, got {size:g} of {total}{example}"
            )
        held[part], order = order[-count:], order[:-count]
        if ranked is not None and size >= 1:
            upper = ranked[len(order)].item()
    return order, held


@dataclass(frozen=True)
class Record:
    """A record of a split.

    Args:
        rule: The seed and the sizes that determine the split.
        counts: Number of images of each part.
        files: A number for each file of each part, int64; None: the data are no files.
        num_train: Number of training images that are used, the first ones.
    """

    rule: dict[str, float]
    counts: dict[str, int]
    files: dict[str, Tensor] | None
    num_train: int

    @classmethod
    def of(
        cls,
        chosen: Mapping[str, tuple[Any, Tensor]],
        seed: int,
        sizes: Mapping[str, float],
        num_train: int,
    ) -> "Record":
        """Of whole splits as (source, places in it); sources of files have `identities`."""
        rule = {"seed": seed, **{f"{part}_size": size for part, size in sizes.items()}}
        counts = {part: len(index) for part, (_, index) in chosen.items()}
        files: dict[str, Tensor] | None = {}
        for part, (source, index) in chosen.items():
            known = getattr(source, "identities", None)
            if known is None:
                files = None
                break
            files[part] = known[index]
        return cls(rule, counts, files, num_train)

    @property
    def fingerprint(self) -> str:
        """sha256 of all values that determine which image is in which split."""
        sha = hashlib.sha256()
        if self.files is None:
            sha.update(json.dumps([self.rule, self.counts], sort_keys=True).encode())
        else:
            for part, files in sorted(self.files.items()):
                sha.update(part.encode() + files.sort().values.numpy().tobytes())
        return sha.hexdigest()

    def state_dict(self) -> dict[str, Any]:
        """Plain values and, for files, the numbers of the training files, int64 (N,)."""
        state = {"rule": self.rule, "images": self.counts, "fingerprint": self.fingerprint}
        if self.files is not None:
            state["trained_on"] = self.files["train"][: self.num_train].sort().values
        return state

    def compare(self, state: Mapping[str, Any], name: str) -> None:
        """Warns if the data `name` are not those of a checkpoint.

        Raises:
            ValueError: the split is another one, and held-out images were trained on.
        """
        if not state or state["fingerprint"] == self.fingerprint:
            return
        then, now = (
            ", ".join(f"{k} {v:g}" for k, v in r.items()) for r in (state["rule"], self.rule)
        )
        if self.files is None or "trained_on" not in state:
            what = (then, now) if then != now else (state["images"], self.counts)
            rank_zero_warn(
                f"{name} is not split as it was for the checkpoint, with {_spoken(what[0])}, but "
                f"with {_spoken(what[1])}: images may be held out that were trained on"
            )
            return
        held = torch.cat([files for part, files in self.files.items() if part != "train"])
        known = int(torch.isin(held, state["trained_on"]).sum())
        if known and then != now:
            raise ValueError(
                f"the split must be that of the checkpoint, {then}, got {now}: "
                f"{known} of the {len(held)} images that are held out were trained on"
            )
        counts = f"{sum(state['images'].values())} then, {sum(self.counts.values())} now"
        rank_zero_warn(
            f"the images of {name} are not all those of the checkpoint ({counts}); "
            f"{known or 'none'} of the {len(held)} that are held out were trained on"
        )


def _spoken(what: str | Mapping[str, int]) -> str:
    if isinstance(what, str):
        return what
    return ", ".join(f"{count} {part}" for part, count in what.items())
