import pytest
import torch


@pytest.fixture
def images():
    return torch.randint(0, 256, (3, 1, 20, 28), dtype=torch.uint8)
