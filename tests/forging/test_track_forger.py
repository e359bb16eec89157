from pathlib import Path

import numpy as np
import pytest
import torch

from deepfake.datasets.pairs import Tables
from deepfake.datasets.track_clips import TrackFeatures
from deepfake.datasets.tubes import TUBE_PX
from deepfake.forging.track_forger import ClipForger, real_tracks
from deepfake.models.checkpoints import load_model
from deepfake.scoring.run_scores import fold_features
from deepfake.settings import Config
from deepfake.training import forged_features as training_forged_features
from deepfake.training.forged_features import forged_features
from deepfake.training.train import train_frames_fold, train_head_fold
from face_pictures import face, write_frames
from learning_data import config, invented, one_thread  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Tables]:
    settings = config(tmp_path_factory.mktemp("run"), frames={"epochs": 1, "validation_pairs": 0})
    made = invented(settings.work_dir)
    train_frames_fold(settings, made, 0)
    return settings, made


def with_forged(settings: Config, n_versions: int, **changes: object) -> Config:
    sequences = settings.sequences.model_copy(update={"forged_clips": n_versions, **changes})
    return settings.model_copy(update={"sequences": sequences})


def plain(tracks: list[TrackFeatures]) -> list[tuple[object, ...]]:
    return [(t.video_id, t.track, t.label, t.logits_T.tobytes(), t.features_TD.tobytes()) for t in tracks]


def test_a_real_track_gives_its_fakes_and_one_of_itself_damaged_alike(run: tuple[Config, Tables]) -> None:
    settings, made = run
    given = fold_features(settings, made, 0, held_out=False)
    tracks = forged_features(with_forged(settings, 1, forged_span=0.0), made, 0)
    assert len(tracks) == len(given) == 4, "as many again"
    assert [t.video_id.partition("#")[0] for t in tracks] == ["real1.mp4", "real1.mp4", "real3.mp4", "real3.mp4"]
    assert [t.label for t in tracks] == [1, 0, 1, 0]
    assert [t.video_id.endswith("#damaged") for t in tracks] == [False, True, False, True]
    assert all(t.features_TD.shape == given[0].features_TD.shape for t in tracks)
    more = forged_features(with_forged(settings, 3, forged_span=0.0), made, 0)
    assert plain(more[:4]) == plain(tracks)
    assert [t.label for t in more[4:]] == [1] * 4
    assert len({t.logits_T.tobytes() for t in more}) == 8, "no two alike"


def test_without_forged_clips_there_are_none(run: tuple[Config, Tables]) -> None:
    settings, made = run
    assert forged_features(settings, made, 0) == []


def test_parts_made_before_a_kill_are_not_made_again(
    run: tuple[Config, Tables], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, made = run
    chosen = with_forged(settings, 2)
    monkeypatch.setattr(training_forged_features, "TRACKS_PER_PART", 1)
    real_make, made_tracks = ClipForger.make, []

    def killed_at_the_third(self: ClipForger, *track: object) -> object:
        made_tracks.append(track)
        if len(made_tracks) == 3:
            raise KeyboardInterrupt
        return real_make(self, *track)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(ClipForger, "make", killed_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            forged_features(chosen, made, 0)
        resumed = forged_features(chosen, made, 0)
    assert len(made_tracks) == 2 + 1 + 2
    monkeypatch.setattr(ClipForger, "make", lambda *_: pytest.fail("it was made again"))
    assert plain(forged_features(chosen, made, 0)) == plain(resumed)


def test_parts_cut_short_are_made_again(run: tuple[Config, Tables]) -> None:
    settings, made = run
    chosen = with_forged(settings, 1, seed=7)
    before = forged_features(chosen, made, 0)
    for number, path in enumerate(sorted((settings.run_dir / "frames/fold0/scored").glob("forged_*"))):
        path.write_bytes(path.read_bytes()[: 20 + number])
    assert plain(forged_features(chosen, made, 0)) == plain(before)


def test_a_sequence_model_learns_from_forged_clips_and_resumes_to_the_same_weights(run: tuple[Config, Tables]) -> None:
    settings, made = run
    chosen = with_forged(settings, 1)

    def trained() -> dict[str, torch.Tensor]:
        tracks = fold_features(chosen, made, 0, held_out=False) + forged_features(chosen, made, 0)
        return load_model(train_head_fold(chosen, "sequences", tracks, 0)).state_dict()

    first = trained()
    folder = settings.run_dir / "sequences" / "fold0"
    for name in ("model.json", "state.pt"):
        (folder / name).unlink()
    again = trained()
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_a_span_is_cut_so_that_every_window_shows_some_of_it(run: tuple[Config, Tables]) -> None:
    settings, made = run
    for track in forged_features(with_forged(settings, 2, forged_span=1.0), made, 0):
        assert 3 <= len(track.logits_T) <= 4
        assert len(track.logits_T) == len(track.features_TD) == len(track.frame_index_T)
        assert track.label == 0 or "+span" in track.video_id


def test_other_people_lend_their_faces_and_damage_is_the_same_for_real_and_fake(tmp_path: Path) -> None:
    faces = write_frames(tmp_path, {"a.mp4": [face(0, 64)] * 3, "b.mp4": [face(1, 64), face(2, 64)]})
    tracks = real_tracks(faces, tmp_path)
    assert [(t.video_id, list(t.rows)) for t in tracks] == [("a.mp4", [0, 1, 2]), ("b.mp4", [3, 4])]
    forger = ClipForger(config(tmp_path, sequences={"forged_span": 0.0}), tracks, {"cross_identity": 1.0})
    pair = forger.make(tracks[0], 0)
    assert pair.fake.name.startswith("cross_identity/")
    assert len(pair.real_seen) == len(pair.fake_seen) == 3
    assert (
        ClipForger(config(tmp_path), tracks[:1], {"cross_identity": 1.0})
        .make(tracks[0], 0)
        .fake.name.startswith("self_blend/")
    )
    again = forger.make(tracks[0], 0)
    assert np.stack(again.fake_seen).tobytes() == np.stack(pair.fake_seen).tobytes()
    # Far from what is forged both look the same after damage: nothing but the forgery tells them apart.
    corner = np.abs(np.stack(pair.real_seen)[:, :4, :4].astype(int) - np.stack(pair.fake_seen)[:, :4, :4])
    assert corner.mean() < 6


def test_forged_tracks_know_their_forged_frames_and_have_no_landmarks_of_their_own(run: tuple[Config, Tables]) -> None:
    settings, made = run
    for track in forged_features(with_forged(settings, 2, forged_span=1.0), made, 0):
        assert set(track.forged_T.tolist()) <= {0.0, 1.0}
        assert track.forged_T.any() == bool(track.label)
        assert np.isnan(track.landmarks_T52).all()
        assert not track.tubes
        assert len(track.times_T) == len(track)


def test_heads_of_pictures_get_the_forged_ones(run: tuple[Config, Tables]) -> None:
    settings, made = run
    chosen = with_forged(settings, 1, heads=("two_stream",), seed=3)
    tracks = forged_features(chosen, made, 0)
    pictures = [track.pictures(TUBE_PX) for track in tracks]
    assert all(one.shape[0] == len(track) for one, track in zip(pictures, tracks, strict=True))
    assert not np.array_equal(pictures[0], pictures[1]), "the fake is not the damaged real"
    again = forged_features(chosen, made, 0)
    assert all(np.array_equal(a.pictures(TUBE_PX), b) for a, b in zip(again, pictures, strict=True))
    for path in (settings.run_dir / "frames/fold0/scored").glob("*.tube.npy"):
        path.unlink()
    assert forged_features(chosen, made, 0)[0].tubes, "made again"


def test_a_span_that_is_asked_for_is_forged_and_the_rest_stays_real(tmp_path: Path) -> None:
    faces = write_frames(tmp_path, {"a.mp4": [face(i, 64) for i in range(4)]})
    tracks = real_tracks(faces, tmp_path)
    settings = config(tmp_path, frames={"selfblend": {"degradation": 0, "h264": False}})
    span_T = np.array([False, True, True, False])
    pair = ClipForger(settings, tracks, {"local_warp": 1.0}).make(tracks[0], 0, span_T)
    same = [np.array_equal(real, fake) for real, fake in zip(pair.real, pair.fake.frames, strict=True)]
    assert same == [True, False, False, True]
    assert pair.fake.forged_T.tolist() == span_T.tolist()
