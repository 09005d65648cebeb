import os
from pathlib import Path

import pytest
import torch

os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")  # some CPUs die in AMX products
os.environ["WANDB_MODE"] = "offline"
torch.set_num_threads(1)  # toys are up to fifteen times slower with the default


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data; tests that use it carry the mark `data`."""
    folder = os.environ.get("GENZOO_DATA")
    if not folder:
        pytest.skip("real data needed: set GENZOO_DATA to its folder")
    return Path(folder).resolve()
