"""MTCNN's networks by ONNX Runtime: facenet-pytorch's weights and answers, and what a damaged file gets."""

import os
from pathlib import Path

import numpy as np
import pytest

from deepfake.errors import UserError
from deepfake.faces import mtcnn, mtcnn_networks
from deepfake.faces.mtcnn_networks import (
    FACENET_SHA256,
    NAMES,
    NETWORKS_FILE,
    Networks,
    _sigmoid,
    read_networks,
    threads_here,
)
from deepfake.files import packaged_file


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)


def test_the_package_s_file_holds_three_networks() -> None:
    assert sorted(read_networks()) == sorted(NAMES) and NETWORKS_FILE.stat().st_size < 2.5e6


@pytest.mark.parametrize("name", NAMES)
def test_facenet_s_own_file_is_the_one_they_were_made_of(name: str) -> None:
    pytest.importorskip("facenet_pytorch")
    packaged_file("facenet-pytorch", f"facenet_pytorch/data/{name}.pt", "", FACENET_SHA256[name])


def test_the_networks_answer_as_facenet_s_own() -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("facenet_pytorch")
    import torch

    theirs, ours = mtcnn.facenet_mtcnn()(), Networks()

    def asked(network: torch.nn.Module, crops: np.ndarray) -> list[np.ndarray]:
        with torch.inference_mode():
            return [value.numpy() for value in network((torch.from_numpy(crops) - 127.5) / 128)]

    for size in ((12, 12), (13, 30), (41, 64)):  # of odd sizes the last row is pooled alone
        picture = pixels(1, 3, *size)
        scores, boxes = ours.propose(picture)
        their_boxes, their_scores = asked(theirs.pnet, picture)
        assert scores == pytest.approx(their_scores[0, 1], abs=1e-5) and boxes == pytest.approx(
            their_boxes[0], abs=1e-5
        )
    scores, boxes = ours.refine(iter([pixels(5, 3, 24, 24)]))
    their_boxes, their_scores = asked(theirs.rnet, pixels(5, 3, 24, 24))
    assert scores == pytest.approx(their_scores[:, 1], abs=1e-5) and boxes == pytest.approx(their_boxes, abs=1e-5)
    scores, boxes, points = ours.decide(iter([pixels(5, 3, 48, 48)]))
    their_boxes, their_points, their_scores = asked(theirs.onet, pixels(5, 3, 48, 48))
    assert scores == pytest.approx(their_scores[:, 1], abs=1e-5) and boxes == pytest.approx(their_boxes, abs=1e-5)
    assert points == pytest.approx(their_points, abs=1e-5)


def test_answers_do_not_depend_on_the_batch() -> None:
    pytest.importorskip("onnxruntime")
    networks, crops = Networks(), pixels(7, 3, 48, 48)
    whole = networks.decide(iter([crops]))
    parts = networks.decide(iter([crops[:4], crops[4:6], crops[6:]]))
    for one, other in zip(whole, parts, strict=True):
        assert one == pytest.approx(other, abs=1e-6)


def test_scores_are_rounded_as_torch_rounds_a_softmax() -> None:
    torch = pytest.importorskip("torch")
    logits = np.linspace(-20, 20, 4001, dtype=np.float32)
    softmax = torch.softmax(torch.from_numpy(np.stack([np.zeros_like(logits), logits], 1)), 1)[:, 1].numpy()
    assert _sigmoid(logits) == pytest.approx(softmax, abs=1.2e-7)
    sure = logits > 5  # where many scores lie next to each other
    assert (_sigmoid(logits) == softmax)[sure].mean() > 0.99


def test_scores_of_extreme_logits_are_numbers() -> None:
    assert _sigmoid(np.array([-1e4, 0, 1e4], np.float32)).tolist() == [0, 0.5, 1]


def test_a_missing_file_is_told_with_the_way_back(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file or directory; install deepfake again"):
        read_networks(tmp_path / "mtcnn.zip")


@pytest.mark.parametrize("n_bytes", [0, 1000, -1])
def test_a_file_cut_short_is_refused(n_bytes: int, tmp_path: Path) -> None:
    path = tmp_path / "mtcnn.zip"
    path.write_bytes(NETWORKS_FILE.read_bytes()[:n_bytes])
    with pytest.raises(UserError, match=r"cut short, damaged or of another version .*install deepfake again"):
        read_networks(path)


def test_a_file_of_other_weights_is_refused(tmp_path: Path) -> None:
    content = bytearray(NETWORKS_FILE.read_bytes())
    content[len(content) // 2] ^= 1
    path = tmp_path / "mtcnn.zip"
    path.write_bytes(content)
    with pytest.raises(UserError, match="of another version"):
        read_networks(path)


def test_networks_that_onnx_runtime_cannot_load_are_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(mtcnn_networks, "read_networks", lambda: {"pnet": b"no network"})
    with pytest.raises(UserError, match=r"cannot be loaded by ONNX Runtime \d.*install the version"):
        Networks()


@pytest.mark.parametrize(("given", "threads"), [("2", 2), ("1", 1), ("", 1), ("0", 1), ("many", 1), (None, 1)])
def test_as_many_threads_are_taken_as_the_process_was_started_with(
    given: str | None, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given is not None:
        monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", given)
    assert threads_here() == threads
