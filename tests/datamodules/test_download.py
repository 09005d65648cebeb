"""Files are fetched only where they are missing, and without a network in one line."""

import pytest

from genzoo.datamodules import CIFAR10, MNIST, CelebA, FashionMNIST
from tests.helpers.dataset_files import mnist_layout


def test_files_that_are_there_are_not_fetched(tmp_path, monkeypatch):
    mnist_layout(tmp_path, zipped=True)
    monkeypatch.setattr("torchvision.datasets.MNIST.download", lambda self: pytest.fail("fetched"))
    assert len(MNIST(str(tmp_path), download=True).split("test")) == 10


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        (MNIST, "https?://.*/mnist/"),
        (FashionMNIST, "https?://.*fashion-mnist"),
        (CIFAR10, "https://www.cs.toronto.edu/"),
        (CelebA, "Google Drive"),
    ],
)
def test_a_closed_network_is_said_in_one_line(tmp_path, monkeypatch, kind, place):
    def closed(self):
        raise OSError("no route\nto host")

    monkeypatch.setattr(f"torchvision.datasets.{kind.__name__}.download", closed)
    says = f"{kind.__name__} could not be downloaded from {place}.* to .*: no route to host. Look"
    with pytest.raises(ConnectionError, match=says):
        kind(str(tmp_path), download=True).split("train")
