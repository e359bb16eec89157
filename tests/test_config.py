"""Settings: mistakes are told at once and in words."""

from pathlib import Path

import pytest

from deepfake.config import (
    PROJECT_ROOT,
    SPEED_ONLY,
    Config,
    CropView,
    UserError,
    default_config,
    digest,
    load_config,
    parse_config,
    read_yaml,
    section_values,
)

SETTINGS = sorted((PROJECT_ROOT / "configs").glob("*.yaml"))


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", SETTINGS, ids=lambda path: path.name)
def test_every_settings_file_of_the_project_loads(path: Path) -> None:
    assert isinstance(load_config(path), Config)


def test_a_typo_is_refused_with_the_name_it_was_meant_to_be(tmp_path: Path) -> None:
    path = written(tmp_path, "extract:\n  frame_per_video: 16\n")
    with pytest.raises(UserError, match=r"extract.frame_per_video: no such setting; did you mean 'frames_per_video'"):
        load_config(path)


def test_an_unknown_key_near_to_none_is_told_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"zzz: no such setting; known: .*extract.*folds"):
        load_config(written(tmp_path, "zzz: 1\n"))


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = "run: ../up\nextract:\n  crop_px: 7\n  colour: red\nfolds:\n  n_folds: many\n"
    with pytest.raises(UserError) as caught:
        load_config(written(tmp_path, text))
    message = str(caught.value)
    assert "4 wrong settings" in message
    for part in ("run: found '../up'", "extract.crop_px: found 7", "extract.colour", "folds.n_folds: found 'many'"):
        assert part in message


BLURRED = "ensemble:\n  views: [{}, {surroundings_blur: 0.025}]\n"
BLURRED_BY_ONE = "ensemble:\n  member_views: {soft: [{}, {surroundings_blur: 0.025}]}\n"


@pytest.mark.parametrize("looks_for_it", [BLURRED, BLURRED_BY_ONE])
def test_the_inner_face_is_looked_for_in_crops_twice_as_wide_as_the_face_only(
    tmp_path: Path, looks_for_it: str
) -> None:
    with pytest.raises(UserError) as caught:
        load_config(written(tmp_path, f"extract: {{margin_ratio: 0.3}}\n{looks_for_it}"))
    assert "\n  extract.margin_ratio: found 0.3, wanted 0.5, where ensemble.views" in str(caught.value)
    assert "ensemble: found" not in str(caught.value)
    load_config(written(tmp_path, f"extract: {{margin_ratio: 0.5}}\n{looks_for_it}"))
    load_config(written(tmp_path, "extract: {margin_ratio: 0.3}\n"))


def test_a_member_looks_as_it_is_told_and_the_others_as_all_do(tmp_path: Path) -> None:
    text = "ensemble:\n  views: [{mirror: true}]\n  member_views: {soft: [{crop_px: 240}]}\n"
    ensemble = load_config(written(tmp_path, text)).ensemble
    assert ensemble.views_of("soft") == (CropView(crop_px=240),)
    assert ensemble.views_of("sharp") == (CropView(mirror=True),)
    with pytest.raises(UserError, match="'soft' has 0 views, wanted 1 to 16"):
        load_config(written(tmp_path, "ensemble:\n  member_views: {soft: []}\n"))


def test_a_repeated_key_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mine.yaml: line 3: key 'crop_px' stands there twice"):
        load_config(written(tmp_path, "extract:\n  crop_px: 64\n  crop_px: 96\n"))


@pytest.mark.parametrize(
    ("text", "number"), [("1e-4", 1e-4), ("1.0e-4", 1e-4), ("5E-2", 0.05), (".5e-1", 0.05), ("1e+0", 1.0)]
)
def test_a_number_with_an_exponent_is_a_number(tmp_path: Path, text: str, number: float) -> None:
    assert load_config(written(tmp_path, f"frames:\n  learning_rate: {text}\n")).frames.learning_rate == number


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf"])
def test_not_a_number_and_infinity_are_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(UserError, match=r"extract.deadline_s"):
        load_config(written(tmp_path, f"extract:\n  deadline_s: {value}\n"))


@pytest.mark.parametrize("value", ["yes", '"16"', "16.5", "[16]", "null"])
def test_a_value_of_another_type_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(UserError, match=r"extract.frames_per_video: found"):
        load_config(written(tmp_path, f"extract:\n  frames_per_video: {value}\n"))


def test_a_whole_number_serves_where_a_fraction_is_wanted() -> None:
    assert parse_config({"extract": {"deadline_s": 5}}).extract.deadline_s == 5.0


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("extract.frames_per_video=16", "extract", "frames_per_video", 16),
        ("frames.learning_rate=1e-4", "frames", "learning_rate", 1e-4),
        ("extract.second_look=false", "extract", "second_look", False),
        ("ensemble.fake_share=null", "ensemble", "fake_share", None),
        ("index.skip=[a.mp4, b.mp4]", "index", "skip", ("a.mp4", "b.mp4")),
        ("frames.backbone=a=b", "frames", "backbone", "a=b"),
    ],
)
def test_an_override_lies_over_the_settings_file(
    tmp_path: Path, override: str, section: str, key: str, value: object
) -> None:
    path = written(tmp_path, "extract:\n  frames_per_video: 8\n  second_look: true\n")
    assert getattr(getattr(load_config(path, [override]), section), key) == value


def test_the_last_of_two_overrides_of_one_setting_holds(tmp_path: Path) -> None:
    overrides = ["folds.n_folds=4", "folds.n_folds=5"]
    assert load_config(written(tmp_path, ""), overrides).folds.n_folds == 5


@pytest.mark.parametrize(
    "override", ["extract", "extract.", ".x=1", "=1", "run.name=x", "folds.seed=[", "folds={a: 1, a: 2}"]
)
def test_a_broken_override_is_a_user_error(tmp_path: Path, override: str) -> None:
    with pytest.raises(UserError):
        load_config(written(tmp_path, "run: mine\n"), [override])


def test_a_typo_in_an_override_is_told_as_one_in_the_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'n_folds'"):
        load_config(written(tmp_path, ""), ["folds.n_fold=4"])


def test_an_empty_section_and_an_empty_file_keep_the_defaults(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, "")) == Config()
    assert load_config(written(tmp_path, "extract:\n# nothing yet\n")) == Config()
    assert load_config(written(tmp_path, "extract:\n"), ["extract.crop_px=64"]).extract.crop_px == 64


def test_a_missing_settings_file_names_those_that_exist(tmp_path: Path) -> None:
    written(tmp_path, "")
    with pytest.raises(UserError, match=r"mime.yaml' does not exist; .* has: mine.yaml"):
        load_config(tmp_path / "mime.yaml")


@pytest.mark.parametrize(
    "text", ["- a\n- b\n", "just words\n", "a: [1\n", "a: {b: 1", "\t- x: 1\n", "? [a]\n: 1\n", "1: 2\n"]
)
def test_yaml_that_holds_no_settings_is_a_user_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match=r"mine\.yaml"):
        load_config(written(tmp_path, text))


def test_a_folder_or_bytes_instead_of_a_settings_file_are_user_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load_config(tmp_path)
    (tmp_path / "bytes.yaml").write_bytes(b"run: \xff\xfe\n")
    with pytest.raises(UserError, match="cannot be read"):
        load_config(tmp_path / "bytes.yaml")


def test_yaml_builds_no_objects() -> None:
    with pytest.raises(UserError, match="not valid YAML"):
        read_yaml("run: !!python/object/apply:os.system [echo]\n", "evil.yaml")


def test_the_name_of_the_run_can_be_given_beside_the_file(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, "run: a\n"), run="b")
    assert config.run == "b" and config.run_dir.name == "b" and config.submission_dir.name == "b"


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "-dash"])
def test_a_run_cannot_leave_its_folder(name: str) -> None:
    with pytest.raises(UserError, match="run"):
        parse_config({"run": name})


def test_relative_folders_start_at_the_project_and_absolute_ones_stay(tmp_path: Path) -> None:
    assert Config().work_dir == PROJECT_ROOT / "data" / "work" / "demo"
    assert parse_config({"data_dir": str(tmp_path), "dataset": "d"}).work_dir == tmp_path / "work" / "d"


def test_settings_do_not_change_after_loading() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().extract.crop_px = 64  # type: ignore[misc]


def test_speed_only_settings_are_settings_and_stay_out_of_a_sections_values() -> None:
    for section, keys in SPEED_ONLY.items():
        assert keys <= set(type(getattr(Config(), section)).model_fields)
        assert not keys & set(section_values(Config(), section))


def test_every_setting_says_what_it_is_for() -> None:
    for section in Config.model_fields:
        for name, field in getattr(type(getattr(Config(), section)), "model_fields", {}).items():
            assert field.description, f"{section}.{name} has no description"


def test_equal_values_have_equal_digests_whatever_their_order() -> None:
    assert digest({"a": 1, "b": [2, 3]}) == digest({"b": [2, 3], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_overrides_alone_make_settings_of_defaults() -> None:
    assert default_config() == Config()
    assert default_config(["robustness.seconds=2", "predict.batch_size=8"]).robustness.seconds == 2
    with pytest.raises(UserError, match="did you mean 'seconds'"):
        default_config(["robustness.second=2"])
