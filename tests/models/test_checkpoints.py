import json
import logging
from pathlib import Path

import pytest
import torch
from torch import nn

from deepfake.errors import UserError
from deepfake.models.checkpoints import finished, load_model, load_state, read_card, save_model, save_state
from deepfake.models.frames import FrameClassifier
from deepfake.models.heads.sequences import SequenceClassifier


def save(folder: Path, model: nn.Module | None = None, digest: str = "d") -> Path:
    model = model or SequenceClassifier(6, 4)
    kind = "frames" if isinstance(model, FrameClassifier) else "sequences"
    return save_model(
        folder, kind, model, fold=1, settings_digest=digest, metrics={"loss": 0.5}, about={"margin_ratio": 0.3}
    )


def test_a_finished_model_rebuilds_itself(tmp_path: Path) -> None:
    model = FrameClassifier("test_efficientnet", 32, 0.1).eval().to(memory_format=torch.channels_last)
    path = save(tmp_path, model)
    crops = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    loaded = load_model(path)
    assert not loaded.training
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    # Bit for bit only in one memory order: in another a processor may sum in another order.
    for again in (loaded, load_model(tmp_path, "frames")):
        assert torch.equal(again.to(memory_format=torch.channels_last)(crops), model(crops))
    card = read_card(path)
    assert (card.fold, card.metrics, card.about) == (1, {"loss": 0.5}, {"margin_ratio": 0.3})


def test_a_missing_model_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such file"):
        load_model(tmp_path)
    save(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors: No such file"):
        load_model(tmp_path)


def test_a_truncated_weight_file_is_reported(tmp_path: Path) -> None:
    path = save(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(UserError, match="cut short, changed, or of another model"):
        load_model(path)
    assert not finished(tmp_path, "d")


def test_weights_of_another_model_are_reported(tmp_path: Path) -> None:
    path = save(tmp_path)
    card = json.loads(path.read_text())
    card["settings"]["hidden"] = 8
    path.write_text(json.dumps(card))
    with pytest.raises(UserError, match=r"they do not fit the model.*size mismatch"):
        load_model(path)


def test_a_model_of_another_family_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="it is one of 'sequences', wanted one of 'frames'"):
        load_model(save(tmp_path), "frames")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind": "frames"}', "no json"])
def test_a_card_that_is_none_is_reported(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(UserError, match="not the card of a model"):
        load_model(tmp_path)


def test_a_model_is_finished_for_its_own_settings_only(tmp_path: Path) -> None:
    assert not finished(tmp_path, "d")
    save(tmp_path)
    assert finished(tmp_path, "d")
    assert not finished(tmp_path, "other")


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    assert load_state(path, "d") is None
    save_state(path, {"settings_digest": "d", "step": 3, "model": {"w": torch.ones(2)}})
    state = load_state(path, "d")
    assert state is not None
    assert state["step"] == 3
    assert state["model"]["w"].tolist() == [1, 1]


def test_a_state_of_other_settings_starts_anew_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_state(tmp_path / "state.pt", {"settings_digest": "d"})
    with caplog.at_level(logging.WARNING):
        assert load_state(tmp_path / "state.pt", "other") is None
    assert "made with other settings or data: training starts from the beginning" in caplog.text


@pytest.mark.parametrize("damage", [b"", b"text", "cut"])
def test_a_damaged_state_starts_anew_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes | str
) -> None:
    path = tmp_path / "state.pt"
    save_state(path, {"settings_digest": "d", "model": {"w": torch.ones(500)}})
    path.write_bytes(path.read_bytes()[:900] if isinstance(damage, str) else damage)
    with caplog.at_level(logging.WARNING):
        assert load_state(path, "d") is None
    assert "is damaged" in caplog.text
