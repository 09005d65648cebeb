import shutil
from pathlib import Path

import pytest

from genzoo.__main__ import main


@pytest.fixture
def genzoo(tmp_path, monkeypatch, capsys):
    """The command line, in an empty folder with a file of somebody's own models.

    `genzoo("fit --model own.Mean", 0)` runs it, checks the exit code and gives what was printed.
    """
    shutil.copy(Path(__file__).with_name("own.py"), tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("GENZOO_DEBUG", raising=False)

    def run(line: str, code: int = 0) -> str:
        capsys.readouterr()
        found = main(line.split())
        out, err = capsys.readouterr()
        assert found == code, out + err
        if code:
            lines = [line for line in err.splitlines() if line.startswith("genzoo: ")]
            assert len(lines) == 1, err
            assert "Traceback" not in out + err
            return lines[0]
        return out

    return run


FAST = (
    "--evaluate false --trainer.accelerator cpu --trainer.enable_model_summary false "
    "--trainer.max_epochs 1 "
)


@pytest.fixture
def trained(genzoo) -> str:
    """A checkpoint of a Mean with lr 0.3 on Noise in batches of 4."""
    genzoo(f"fit --model own.Mean --model.lr 0.3 --data own.Noise --data.batch_size 4 {FAST}")
    return "runs/Mean-Noise/version_0/checkpoints/last.ckpt"
