"""CelebA: its official parts, and attributes as labels."""

import numpy as np
import pytest
from PIL import Image

from genzoo.datamodules import CelebA
from genzoo.datamodules.celeba import ATTRIBUTES


@pytest.fixture
def faces(tmp_path):
    """Nine grey faces of 178x218 with a white stripe above the central square."""
    folder = tmp_path / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    rows, partition = [], []
    for i in range(9):
        pixels = np.full((218, 178, 3), 20 * i, np.uint8)
        pixels[:20] = 255
        Image.fromarray(pixels).save(folder / "img_align_celeba" / f"{i:06}.jpg", quality=95)
        marks = [" 1" if (i % 2 == 0) == (name == "Smiling") else "-1" for name in ATTRIBUTES]
        rows.append(f"{i:06}.jpg {' '.join(marks)}")
        partition.append(f"{i:06}.jpg {i // 3}")
    header = " ".join(ATTRIBUTES) + " "
    (folder / "list_attr_celeba.txt").write_text("\n".join(["9", header, *rows]) + "\n")
    (folder / "list_eval_partition.txt").write_text("\n".join(partition) + "\n")
    return tmp_path


def test_celeba_has_its_official_parts(faces):
    data = CelebA(str(faces))
    assert data.image_shape == (3, 64, 64) and data.num_classes == 0
    for at, part in enumerate(("train", "val", "test")):
        split = data.split(part)
        assert split.images.shape == (3, 3, 64, 64) and split.labels.tolist() == [-1] * 3
        greys = sorted(split.images.float().mean(dim=(1, 2, 3)).tolist())
        assert greys == pytest.approx([20 * (3 * at + i) for i in range(3)], abs=3)  # no stripe
    assert len(CelebA(str(faces), num_train=2).split("train")) == 2


def test_an_attribute_of_celeba_is_a_label(faces):
    data = CelebA(str(faces), attribute="Smiling", image_size=8, conditional=True)
    assert data.num_classes == 2 and data.class_names == ("not Smiling", "Smiling")
    assert data.split("val").labels.tolist() == [0, 1, 0]  # faces 3, 4 and 5
    other = CelebA(str(faces), attribute="Young", image_size=8)
    assert other.split("val").labels.tolist() == [1, 0, 1]


def test_celeba_refuses_what_is_not_there(faces):
    with pytest.raises(ValueError, match="attribute must be one of 5_o_Clock.*, got 'Smile'"):
        CelebA(str(faces), attribute="Smile")
    with pytest.raises(ValueError, match="image_size must be at least 1 for CelebA, got 0"):
        CelebA(str(faces), image_size=0)
    (faces / "celeba" / "img_align_celeba" / "000007.jpg").unlink()
    with pytest.raises(ValueError, match="000007.jpg must be a whole image file"):
        CelebA(str(faces)).split("test")
    (faces / "celeba" / "list_attr_celeba.txt").write_text("1\nSmiling\n000000.jpg 1\n")
    with pytest.raises(ValueError, match="list_attr_celeba.txt must begin with a count"):
        CelebA(str(faces)).split("test")
