"""CIFAR-10 as torchvision reads it."""

import numpy as np
import pytest
import torch

from genzoo.datamodules import CIFAR10


def test_cifar10_is_read_by_torchvision(tmp_path, monkeypatch):
    import pickle

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rows = np.random.default_rng(0).integers(0, 256, (60, 3072), dtype=np.uint8)
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for at, name in enumerate(names):
        batch = {"data": rows[at * 10 : at * 10 + 10], "labels": list(range(10))}
        (folder / name).write_bytes(pickle.dumps(batch))
    with pytest.raises(FileNotFoundError, match="CIFAR10 needs .*batches.meta"):
        CIFAR10(str(tmp_path)).split("test")
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(CIFAR10.class_names)}))
    with pytest.raises(ValueError, match="CIFAR-10 unaltered, got another checksum"):
        CIFAR10(str(tmp_path)).split("test")
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    data = CIFAR10(str(tmp_path))
    assert data.image_shape == (3, 32, 32) and data.num_classes == 10
    test = data.split("test")
    assert torch.equal(test.images, torch.from_numpy(rows[50:]).view(-1, 3, 32, 32))
    assert test.labels.tolist() == list(range(10))
    assert [len(data.split(part)) for part in ("train", "val")] == [45, 5]
