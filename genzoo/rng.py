"""What lets an evaluation look at a training without disturbing it."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def isolated(*key: int) -> Iterator[None]:
    """Random numbers that are a function of the key; the caller's state comes back afterwards.

    Gradients are off, also in Lightning's inference mode, whose tensors would later refuse to
    take part in anything that needs a gradient. Python's, numpy's and torch's generators are
    covered, on all devices.
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)
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
