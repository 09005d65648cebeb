"""Random numbers that are a function of a key, and independent of the numbers drawn before.

So a resumed training continues exactly, ranks have different noise, and an evaluation leaves the
noise of training unchanged.
"""

import random
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_of(*key: int) -> int:
    """A seed of 63 bits; similar keys give unrelated seeds."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)


def generator(purpose: str, *key: int) -> torch.Generator:
    """A generator whose numbers are a function of the purpose and of these integers."""
    return torch.Generator().manual_seed(seed_of(zlib.crc32(purpose.encode()), *key))


def shuffled(n: int, seed: int = 0) -> torch.Tensor:
    """A random order (n,) of 0..n-1 that is a function of n and the seed."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))


@contextmanager
def isolated(*key: int) -> Iterator[None]:
    """Random numbers are a function of the key within it; the caller's state is restored after it.

    Gradients are off. Lightning's inference mode is off too, since its tensors could not be used
    later where gradients are needed. The generators of Python, numpy and torch are covered, on all
    devices.
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
