"""Files: whole or not at all, and every kind of damage is an error that says so."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import alloygen
from alloygen.errors import CheckpointError
from alloygen.models import ModelConfig
from alloygen.training.checkpoint import read_file, write_file
from alloygen.training.trainer import TrainingConfig

TENSORS = {"a": np.arange(6.0).reshape(2, 3), "b": np.array([1], dtype=np.int8)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_file(tmp_path / "file.safetensors", "problem", TENSORS, {"note": "µ"})
    return tmp_path / "file.safetensors"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    fitted = alloygen.fit(
        alloygen.ising(2, 3),
        budget="2 steps",
        progress=False,
        model=ModelConfig(width=8, depth=1, heads=2),
        training=TrainingConfig(batch=16, groups=2, reverse_batch=16),
    )
    target = tmp_path_factory.mktemp("model") / "model.safetensors"
    fitted.save(target)
    return target


def test_round_trip(path: Path) -> None:
    tensors, metadata = read_file(path, "problem")
    assert metadata == {"note": "µ"}
    assert set(tensors) == set(TENSORS)
    for name, tensor in tensors.items():
        assert tensor.dtype == TENSORS[name].dtype
        np.testing.assert_array_equal(tensor, TENSORS[name])
    assert [p.name for p in path.parent.iterdir()] == ["file.safetensors"]


def test_a_model_file_gives_the_same_model(model: Path) -> None:
    one, two = alloygen.load(model), alloygen.load(str(model))
    assert one.free_energy(temperature=2.0, n_samples=50).value == two.free_energy(temperature=2.0, n_samples=50).value
    assert one.information["steps"] == 2
    assert one.window.temperatures == (1.5, 4.0)


@pytest.mark.parametrize("keep", [0.0, 0.001, 0.1, 0.5, 0.999])
def test_truncated_files(model: Path, tmp_path: Path, keep: float) -> None:
    data = model.read_bytes()
    broken = tmp_path / "broken"
    broken.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(CheckpointError, match="truncated, corrupted"):
        alloygen.load(broken)


def test_every_flipped_byte_is_noticed(path: Path, tmp_path: Path) -> None:
    data = path.read_bytes()
    broken = tmp_path / "broken"
    for position in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[position] ^= 0x55
        broken.write_bytes(damaged)
        with pytest.raises(CheckpointError):
            read_file(broken, "problem")


def test_foreign_files(model: Path, path: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    save_file(TENSORS, foreign)
    with pytest.raises(CheckpointError, match="of another program"):
        alloygen.load(foreign)
    save_file(TENSORS, foreign, metadata={"alloygen": "no json"})
    with pytest.raises(CheckpointError, match=r"header of .* is damaged"):
        alloygen.load(foreign)
    foreign.write_bytes(pickle.dumps({"weights": [1, 2, 3]}))
    with pytest.raises(CheckpointError, match="no safetensors file"):
        alloygen.load(foreign)
    with pytest.raises(CheckpointError, match="holds a problem: expected an alloygen fitted model"):
        alloygen.load(path)
    with pytest.raises(CheckpointError, match="holds a fitted model: expected an alloygen problem"):
        alloygen.Problem.load(model)


def test_other_versions_and_missing_parts(path: Path, tmp_path: Path) -> None:
    header = {"kind": "problem", "format": 99, "sha256": "", "metadata": {}}
    save_file(TENSORS, tmp_path / "new", metadata={"alloygen": json.dumps(header)})
    with pytest.raises(CheckpointError, match="format version 99"):
        read_file(tmp_path / "new", "problem")
    with pytest.raises(CheckpointError, match="lacks"):
        alloygen.Problem.load(path)
    write_file(tmp_path / "empty", "fitted model", TENSORS, {})
    with pytest.raises(CheckpointError, match="lacks a part"):
        alloygen.load(tmp_path / "empty")


def test_unwritable_targets_leave_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="create the folder"):
        write_file(tmp_path / "missing" / "file", "problem", TENSORS, {})
    (tmp_path / "folder").mkdir()
    with pytest.raises(CheckpointError, match="cannot write"):
        write_file(tmp_path / "folder", "problem", TENSORS, {})
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]
