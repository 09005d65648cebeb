"""How fast exact neighbours come, against faiss' exact index, and in how much memory.

pytest tests/benchmarks/test_neighbour_speed.py -m benchmark -n 0 -s

GENZOO_NEIGHBOURS sets the number of images on each side (8,000); the aim is meant for 50,000.
"""

import os
import subprocess
import sys
import time

import pytest
import torch

from genzoo.metrics.neighbours import nearest

COUNT = int(os.environ.get("GENZOO_NEIGHBOURS", "8000"))
FEATURES = 2048

MEMORY = """
import re, torch
from genzoo.metrics.neighbours import nearest
torch.set_num_threads(1)
def peak():  # KiB; getrusage would remember the process that started this one
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
x, y = torch.randn({count}, {features}), torch.randn({count}, {features})
nearest(x[:100], y[:100])  # libraries load what they need
before = peak()
nearest(x, y, 5)
print(peak() - before)
"""


@pytest.mark.benchmark
def test_exact_neighbours_take_at_most_a_third_longer_than_faiss():
    faiss = pytest.importorskip("faiss")
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    x, y = torch.randn(COUNT, FEATURES), torch.randn(COUNT, FEATURES)
    start = time.process_time()  # other work on the machine does not count
    index = faiss.IndexFlatL2(FEATURES)
    index.add(y.numpy())
    theirs, place = index.search(x.numpy(), 1)
    middle = time.process_time()
    ours, found = nearest(x, y)
    seconds = {"faiss": middle - start, "genzoo": time.process_time() - middle}
    ratio = seconds["genzoo"] / seconds["faiss"]
    print(f"\n{COUNT:,} x {COUNT:,} x {FEATURES:,}: {seconds}, ratio {ratio:.2f}")
    assert (found[:, 0] == torch.from_numpy(place[:, 0])).float().mean() > 0.999
    torch.testing.assert_close(
        ours[:, 0].float(), torch.from_numpy(theirs[:, 0]).sqrt(), rtol=1e-4, atol=0
    )
    assert ratio < 1.3


@pytest.mark.benchmark
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_exact_neighbours_need_less_than_a_gibibyte_beside_the_features():
    script = MEMORY.format(count=COUNT, features=FEATURES)
    output = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    kibibytes = int(output.stdout)
    print(f"\n{kibibytes / 1024:.0f} MiB beside two times {COUNT:,} x {FEATURES:,}")
    assert kibibytes < 2**20
