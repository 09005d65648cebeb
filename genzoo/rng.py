"""Random numbers that are a function of a key, and of nothing that was drawn before.

So a resumed training goes on as the unbroken one, ranks differ, and an evaluation disturbs nothing.
"""

import random
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_of(*key: int) -> int:
    """A seed of 63 bits: other keys, however near, give seeds that have nothing in common."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)


def generator(purpose: str, *key: int) -> torch.Generator:
    """Random numbers that are a function of what they are for and of these whole numbers."""
    return torch.Generator().manual_seed(seed_of(zlib.crc32(purpose.encode()), *key))


def shuffled(n: int, seed: int = 0) -> torch.Tensor:
    """(n,) the numbers 0..n-1 in an order that is a function of n and the seed."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))


@contextmanager
def isolated(*key: int) -> Iterator[None]:
    """Random numbers that are a function of the key; the caller's state comes back afterwards.

    Gradients are off, also in Lightning's inference mode, whose tensors would later refuse to
    take part in anything that needs a gradient. Python's, numpy's and torch's generators are
    covered, on all devices.
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    seed = seed_of(*key)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    try:
        with torch.inference_mode(False), torch.no_grad():
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if on_gpus:
            torch.cuda.set_rng_state_all(on_gpus)
