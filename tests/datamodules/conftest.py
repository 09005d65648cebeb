import pytest

from tests.helpers.dataset_files import save


@pytest.fixture
def animals(tmp_path):
    """Six cats and four dogs, known by their colour; a class may have folders of its own."""
    for i in range(6):
        save(tmp_path / "cat" / ("small" if i % 2 else "") / f"{i}.png", color=(i, 0, 0))
    for i in range(4):
        save(tmp_path / "dog" / f"{i}.PNG", color=(100 + i, 0, 0))
    (tmp_path / "dog" / "notes.txt").write_text("not an image")
    (tmp_path / ".thumbnails").mkdir()
    (tmp_path / ".thumbnails" / "0.png").write_bytes(b"hidden")
    (tmp_path / "cat" / "._0.png").write_bytes(b"hidden")
    (tmp_path / "empty").mkdir()
    return tmp_path
