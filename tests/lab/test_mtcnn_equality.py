"""Comparing two ways to find faces: what counts as the same, and the table."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from deepfake.errors import UserError
from deepfake.faces.mtcnn import Faces
from lab.commands import mtcnn_equality as command
from lab.mtcnn_equality import Compared, Difference, difference, generated_pictures, real_pictures, spread, table


def faces(*places: tuple[float, float], score: float = 0.9) -> Faces:
    boxes = np.array([(x, y, x + 50, y + 60) for x, y in places], np.float32).reshape(-1, 4)
    landmarks = np.repeat(boxes[:, None, :2] + 20, 5, axis=1)
    return Faces(boxes, np.full(len(places), score, np.float32), landmarks)


def test_the_same_faces_in_another_order_are_the_same() -> None:
    assert difference(faces((0, 0), (100, 0)), faces((100, 0), (0, 0))) == Difference(2)
    assert difference(faces(), faces()) == Difference(0)


def test_boxes_landmarks_and_scores_are_measured_at_their_largest() -> None:
    apart = difference(faces((0, 0), (100, 0)), faces((0, 0.25), (100, 0), score=0.5))
    assert (apart.box_px, apart.landmark_px, apart.score) == pytest.approx((0.25, 0.25, 0.4))
    assert not apart.is_same


def test_a_face_that_one_of_them_alone_finds_is_unpaired() -> None:
    for ours, theirs in ((faces((0, 0)), faces((0, 0), (100, 0))), (faces((0, 0), (100, 0)), faces((0, 0)))):
        assert difference(ours, theirs).unpaired == 1 and not difference(ours, theirs).is_same
    assert difference(faces((0, 0)), faces((100, 0))).unpaired == 2


@pytest.mark.parametrize(
    ("apart", "is_same"),
    [
        (Difference(1, 0, 0.5, 0.5, 1e-3), True),
        (Difference(1, 0, 0.51, 0, 0), False),
        (Difference(1, 0, 0, 0.51, 0), False),
        (Difference(1, 0, 0, 0, 1.1e-3), False),
        (Difference(1, 1), False),
    ],
)
def test_the_limits_are_half_a_pixel_and_a_thousandth(apart: Difference, is_same: bool) -> None:
    assert apart.is_same is is_same


def test_the_table_names_the_worst_of_each_kind() -> None:
    kind = Compared("drawn", [Difference(2, 0, 0.25), Difference(1, 1, 0.1, 0.75)], {"onnxruntime": 1.25, "torch": 5})
    assert table([kind]).splitlines()[-1] == "| drawn | 2 | 3 | 1 | 2.5e-01 | 7.5e-01 | 0.0e+00 | 1.2 | 5.0 |"


def test_paths_are_spread_evenly_and_none_comes_twice() -> None:
    paths = [Path(str(i)) for i in range(10)]
    assert [path.name for path in spread(paths, 3)] == ["1", "5", "8"]
    assert spread(paths, 99) == paths and spread([], 5) == []


def test_photos_of_a_folder_are_reduced_and_an_empty_folder_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no photo and no clip"):
        list(real_pictures(tmp_path, 3, 64))
    cv2.imwrite(str(tmp_path / "a.png"), np.full((100, 200, 3), (1, 2, 3), np.uint8))
    (picture,) = real_pictures(tmp_path, 3, 64)
    assert picture.shape == (32, 64, 3) and picture[0, 0].tolist() == [3, 2, 1]
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="it cannot be read"):
        list(real_pictures(tmp_path, 3, 64))


def test_drawn_pictures_are_the_same_each_time_and_of_several_sizes() -> None:
    once, again = list(generated_pictures(3)), list(generated_pictures(3))
    assert all((a == b).all() for a, b in zip(once, again, strict=True))
    assert len({picture.shape for picture in once}) == 3


def test_the_command_prints_the_table_and_finds_both_libraries_equal(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("facenet_pytorch")
    assert command.run(command.arguments().parse_args(["--generated", "3"])) == 0
    name, n, faces, different = capsys.readouterr().out.splitlines()[-1].split(" | ")[:4]
    assert (name, n, different) == ("| drawn", "3", "0") and int(faces) >= 3
