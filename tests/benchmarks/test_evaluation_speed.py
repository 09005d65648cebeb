"""What three answers cost beside the features that they are drawn from.

pytest tests/benchmarks/test_evaluation_speed.py -m benchmark -n 0 -s

GENZOO_EVALUATION sets the number of images of each kind (1,000); the aim is meant for 10,000,
as the cost of features grows with the number and that of neighbours with its square.
"""

import os
import time

import pytest
import torch

from genzoo.callbacks import Diversity, Memorisation, Realism
from genzoo.features.extractors import Extractor, Inception
from tests.features.test_extractors import random_inception
from tests.helpers.evidence import evidence

COUNT = int(os.environ.get("GENZOO_EVALUATION", "1000"))
TIMED = 256  # images of which the network's time is taken: it is the same for each


class Stand(Extractor):
    """As many features and logits as Inception has, at no cost, and what is asked of it."""

    reference = True

    def __init__(self):
        super().__init__("stand")
        self.weight = torch.randn(3 * 32 * 32, 2048) / 55
        self.head = torch.randn(2048, 1008) / 45

    def forward(self, images):
        features = torch.relu(images.flatten(1).float() / 128 - 1) @ self.weight
        return features.relu(), features @ self.head


@pytest.mark.benchmark
def test_three_evaluations_cost_a_tenth_of_the_features(tmp_path):
    """Training images and samples by an Inception network, 32x32, one thread."""
    torch.set_num_threads(1)
    torch.save(random_inception(), tmp_path / "random.pth")
    inception = Inception(tmp_path / "random.pth").eval()
    images = torch.randint(0, 256, (3, COUNT, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        inception(images[0, :16])
        start = time.process_time()
        for block in images[0, :TIMED].split(64):
            inception(block)
        each = (time.process_time() - start) / TIMED
        found = evidence(*images, extractor=Stand())
        seconds = {}
        for evaluation in (Realism(), Memorisation(), Diversity()):
            start = time.process_time()
            evaluation.evaluate(found)
            seconds[type(evaluation).__name__] = time.process_time() - start
    features = 2 * COUNT * each
    ratio = 1 + sum(seconds.values()) / features
    parts = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items())
    print(f"\n{COUNT:,} + {COUNT:,} images: features {features:.0f} s; {parts}; {ratio:.3f} times")
    assert ratio < 1.1
