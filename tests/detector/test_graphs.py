"""A detector's graphs for ONNX Runtime: the same answers as PyTorch's, and refused in words where they cannot be."""

import json
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load, save_file

from deepfake.commands import export
from deepfake.detector import file, graphs
from deepfake.detector.file import TrainedDetector, load_detector, open_detector, save_detector, write_stack
from deepfake.detector.header import Networks
from deepfake.detector.score_videos import kept_scores
from deepfake.detector.video_scorer import VideoScorer
from deepfake.errors import UserError
from deepfake.evidence.crops import heat_maps
from deepfake.faces.extracted import Extraction
from deepfake.models import runtime
from deepfake.models.detector_file import read_header
from deepfake.models.export import export as export_network
from deepfake.models.graphs import MAX_GRAPH_BYTES, graph_of, is_graph, probe_crop
from deepfake.models.networks import Runner
from deepfake.scoring.frame_scorer import FrameScorer, mean_of_views
from deepfake.settings import CropView, Predict
from learning_data import one_thread, picture  # noqa: F401 - a fixture
from little_detector import settings, stack, two_members
from run_command import ENVIRONMENT

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = Predict(device="cpu", threads=1)
CROPS = [picture(number, number % 2 == 0, 64) for number in range(6)]
LARGER, MIRRORED = CropView(size_ratio=1.5, view_ratio=1.2), CropView(mirror=True)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector of two networks, in half precision, whose first one sees every crop in three views of two sizes."""
    folder = tmp_path_factory.mktemp("graphs")
    path, parts = two_members(folder)
    shown = settings(folder)
    views = {"wide": (CropView(), LARGER, MIRRORED)}
    shown = shown.model_copy(update={"ensemble": shown.ensemble.model_copy(update={"member_views": views})})
    save_detector(path, "two", parts, stack("wide", "near-250"), shown)
    return path


@pytest.fixture
def copied(written: Path, tmp_path: Path) -> Path:
    path = tmp_path / "copy.safetensors"
    path.write_bytes(written.read_bytes())
    return path


def rewrite(
    path: Path, header: Callable[[dict], None] = lambda _: None, tensors: Callable[[dict], object] = dict
) -> None:
    """Change a detector's header or tensors in place."""
    with safe_open(path, "np") as stored:
        values = json.loads(stored.metadata()["detector"])
    arrays = {name: np.array(value) for name, value in load(path.read_bytes()).items()}
    header(values)
    tensors(arrays)
    save_file(arrays, path, {"detector": json.dumps(values)})


def without_graphs(path: Path) -> Path:
    """The same without graphs and, for speed, without further views."""

    def drop(tensors: dict) -> None:
        for name in [name for name in tensors if is_graph(name)]:
            del tensors[name]

    def change(header: dict) -> None:
        del header["graphs"]
        header["ensemble"]["member_views"] = {}

    rewrite(path, change, drop)
    return path


def engines(detector: TrainedDetector) -> set[str]:
    return {scorer.model.engine.name for _, scorer, _ in VideoScorer(detector, CPU).members}


def test_onnx_runtime_gives_a_written_detector_the_logits_features_and_heat_of_torch(written: Path) -> None:
    by_onnx, by_torch = open_detector(written, CPU), load_detector(written)
    assert engines(by_onnx) == {"ONNX Runtime"} and engines(by_torch) == {"PyTorch"}
    outputs = [VideoScorer(one, CPU).frame_outputs(CROPS) for one in (by_onnx, by_torch)]
    for (logits, features), (wanted, wanted_features) in zip(*outputs, strict=True):
        assert np.ptp(wanted) > 0.003, "the crops are not all alike to it"
        assert logits == pytest.approx(wanted, abs=1e-4)
        assert features.astype(float) == pytest.approx(wanted_features.astype(float), abs=5e-3)
    heats = [heat_maps([member.frames for member in one.members], CROPS[:2]) for one in (by_onnx, by_torch)]
    assert heats[0][1] == pytest.approx(heats[1][1], abs=1e-4)


def test_fifty_made_up_crops_have_the_same_logits_by_both_engines(written: Path) -> None:
    found = list(graphs.compare(written, load_detector(written).members, graphs.made_up_crops))
    assert [(one.network, one.side_px) for one in found] == [("frames.0", 32), ("frames.0", 48), ("frames.1", 32)]
    assert all(0 <= one.logit <= 1e-4 and one.feature <= 1e-3 and one.map_logit <= 1e-3 for one in found)
    crops = graphs.made_up_crops(32)
    assert crops.shape == (50, 3, 32, 32) and len({crop.tobytes() for crop in crops}) == 50


def test_all_views_of_a_crop_in_one_call_give_the_mean_of_the_views(written: Path) -> None:
    for frames in (open_detector(written, CPU).members[0].frames, load_detector(written).members[0].frames):
        scorer = FrameScorer(frames, CPU.model_copy(update={"batch_size": 4}))
        views = (MIRRORED, LARGER, CropView())
        together = scorer.in_views(views, CROPS)
        one_by_one = mean_of_views(views, lambda view, scorer=scorer: scorer.seeing(view).crops(CROPS))
        assert together[0] == pytest.approx(one_by_one[0], abs=1e-5)
        assert np.array_equal(together[1], one_by_one[1]) or np.abs(together[1] - one_by_one[1]).max() < 1e-2
        assert np.abs(together[0] - scorer.crops(CROPS)[0]).max() > 1e-3, "views move a logit"
        assert scorer.in_views(views, [])[0].shape == (0,)


def test_views_of_one_size_go_through_the_network_in_one_call(written: Path) -> None:
    calls = []

    class Counting(Runner):
        input_px, view_ratio, n_features, has_maps, engine, device_type = 32, 1.0, 2, False, None, "cpu"

        def run(self, crops_NCHW: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            calls.append(crops_NCHW.shape)
            return np.zeros(len(crops_NCHW), np.float32), np.zeros((len(crops_NCHW), 2), np.float32)

        def maps(self, crops_NCHW: np.ndarray) -> np.ndarray:
            raise AssertionError("it has none")

    FrameScorer(Counting(), CPU).in_views((CropView(), MIRRORED, LARGER), CROPS)
    assert calls == [(12, 3, 32, 32), (6, 3, 48, 48)]


def test_a_graph_holds_no_weights(written: Path) -> None:
    with safe_open(written, "np") as stored:
        sizes = {name: stored.get_tensor(name).nbytes for name in stored.keys()}  # noqa: SIM118 - no dict
    ours = [n for name, n in sizes.items() if is_graph(name)]
    assert len(ours) == 3
    assert sum(ours) < 0.5 * sum(n for name, n in sizes.items() if not is_graph(name))


def spoilt_weights(path: Path) -> None:
    def change(tensors: dict) -> None:
        tensors["frames.1.head.bias"] += 1

    rewrite(path, tensors=change)


def another_opset(path: Path) -> None:
    rewrite(path, lambda header: header["graphs"].update(opset=11))


def damaged_graph(path: Path) -> None:
    rewrite(path, tensors=lambda tensors: tensors["onnx/frames.0/48"].__setitem__(100, 7))


def cut_short(path: Path) -> None:
    rewrite(path, tensors=lambda tensors: tensors.update({"onnx/frames.1/32": tensors["onnx/frames.1/32"][:-9]}))


def much_of_nothing(path: Path) -> None:
    bomb = np.frombuffer(zlib.compress(bytes(MAX_GRAPH_BYTES + 1)), np.uint8)
    rewrite(path, tensors=lambda tensors: tensors.update({"onnx/frames.1/32": bomb}))


def lost(path: Path) -> None:
    rewrite(path, tensors=lambda tensors: tensors.pop("onnx/frames.1/32"))


def of_a_later_version(path: Path) -> None:
    rewrite(path, lambda header: header["graphs"]["networks"]["frames.0"].update(quantised=True))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoilt_weights, "frames.1: they are of other weights than the file's"),
        (another_opset, "found ONNX opset 11, wanted 18"),
        (damaged_graph, "frames.0 at 48 px: damaged"),
        (cut_short, "frames.1 at 32 px: damaged"),
        (much_of_nothing, "frames.1 at 32 px: damaged: it does not end, or is of more than 64 MiB"),
        (lost, "frames.1: .*onnx/frames.1/32"),
        (of_a_later_version, "none that this version knows .*frames.0.quantised"),
    ],
)
def test_graphs_that_do_not_fit_are_refused_with_the_way_back(
    copied: Path, spoil: Callable[[Path], None], words: str
) -> None:
    spoil(copied)
    with pytest.raises(UserError, match=f"{words}.*deepfake export"):
        open_detector(copied, CPU)
    assert engines(open_detector(copied, CPU.model_copy(update={"engine": "torch"}))) == {"PyTorch"}


def test_graphs_that_lie_in_a_file_as_plain_onnx_are_read_as_those_that_are_compressed(copied: Path) -> None:
    wanted = VideoScorer(open_detector(copied, CPU), CPU).frame_outputs(CROPS)

    def plain(tensors: dict) -> None:
        for name in filter(is_graph, list(tensors)):
            model = graph_of(tensors[name].tobytes())
            assert len(model) > 2 * len(tensors[name])
            tensors[name] = np.frombuffer(model, np.uint8)

    rewrite(copied, tensors=plain)
    found = VideoScorer(open_detector(copied, CPU), CPU).frame_outputs(CROPS)
    for (logits, _), (wanted_logits, _) in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(logits, wanted_logits)


def test_an_engine_that_errs_on_this_machine_is_refused_before_its_first_score(copied: Path) -> None:
    def change(header: dict) -> None:
        header["graphs"]["networks"]["frames.0"]["sizes"]["32"]["probe_logit"] += 0.002

    rewrite(copied, change)
    scorer = VideoScorer(open_detector(copied, CPU), CPU)
    with pytest.raises(UserError, match=r"gives frames.0 the logit .*, PyTorch .*--engine torch.*deepfake export"):
        scorer.frame_outputs(CROPS)


def test_the_crop_of_the_light_gate_is_the_same_everywhere() -> None:
    crop = probe_crop(28)
    assert (crop.shape, crop.dtype) == ((3, 28, 28), np.uint8)
    assert crop[0, 0, :6].tolist() == [0, 0, 48, 48, 158, 158], "i * i * 31 + i * 17 modulo 251, each twice"
    assert int(crop.std()) > 50


def test_a_file_without_graphs_is_scored_by_torch_which_says_so(copied: Path, capsys: pytest.CaptureFixture) -> None:
    assert engines(open_detector(without_graphs(copied), CPU)) == {"PyTorch"}
    with pytest.raises(UserError, match=r"engine=onnxruntime, but the file has no graphs.*deepfake export"):
        open_detector(copied, CPU.model_copy(update={"engine": "onnxruntime"}))
    export.run(export.arguments().parse_args(["--weights", str(copied)]))
    printed = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert printed[1:4] == [["frames.0", "32"], ["frames.1", "32"], ["->", str(copied)]], "the views went, too"
    assert engines(open_detector(copied, CPU)) == {"ONNX Runtime"}


def test_a_view_that_has_no_graph_is_scored_by_torch(copied: Path) -> None:
    view = {"size_ratio": 2.0}
    rewrite(copied, lambda header: header["ensemble"].update(member_views={"wide": [view]}))
    assert engines(open_detector(copied, CPU)) == {"PyTorch"}


def test_where_onnx_runtime_is_missing_torch_scores(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "library", lambda: None)
    assert engines(open_detector(written, CPU)) == {"PyTorch"}
    with pytest.raises(UserError, match="pip install onnxruntime"):
        open_detector(written, CPU.model_copy(update={"engine": "onnxruntime"}))
    monkeypatch.setattr(runtime, "has_torch", lambda: False)
    with pytest.raises(UserError, match=r"onnxruntime is not installed.*PyTorch is missing"):
        open_detector(written, CPU)


def test_without_torch_a_file_that_needs_it_is_refused_with_both_ways_to_go_on(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "has_torch", lambda: False)
    assert engines(open_detector(copied, CPU)) == {"ONNX Runtime"}
    for change, words in (({"engine": "torch"}, "predict.engine=torch"), ({"device": "cuda"}, "predict.device=cuda")):
        with pytest.raises(UserError, match=rf"{words}; and PyTorch is missing here: pip install 'deepfake\[train\]'"):
            open_detector(copied, CPU.model_copy(update=change))
    with pytest.raises(
        UserError, match=r"has no graphs .*`deepfake export` writes them.*pip install 'deepfake\[train\]'"
    ):
        open_detector(without_graphs(copied), CPU)


def test_without_torch_a_network_over_tracks_is_refused_in_words(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "has_torch", lambda: False)
    rewrite(copied, lambda header: header["networks"].update({"lrcn.0": {}}))
    with pytest.raises(UserError, match=r"lrcn\.0 is a network over tracks, .*PyTorch is missing here: pip install"):
        open_detector(copied, CPU)


def test_torch_without_timm_is_not_chosen() -> None:
    code = (
        "import sys; sys.modules['timm'] = None\n"
        "from deepfake.models.engine import has_torch; print(has_torch(), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT)
    assert done.stdout == "False False\n", done.stderr


@pytest.mark.parametrize(
    ("changes", "gpu", "fast", "chosen"),
    [
        ({}, False, True, "onnxruntime"),
        ({"device": "auto"}, False, True, "onnxruntime"),
        ({"device": "auto"}, True, True, "torch"),
        ({"device": "cpu"}, True, True, "onnxruntime"),
        ({"device": "cuda"}, True, True, "torch"),
        ({"engine": "torch"}, False, True, "torch"),
        ({"precision": "auto"}, False, True, "torch"),
        ({"precision": "auto"}, False, False, "onnxruntime"),
        ({"precision": "bf16"}, False, False, "torch"),
    ],
)
def test_onnx_runtime_is_chosen_on_processors_and_torch_where_it_has_more_to_give(
    changes: dict, gpu: bool, fast: bool, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from deepfake.models import devices

    monkeypatch.setattr(runtime, "may_have_gpu", lambda: gpu)
    monkeypatch.setattr(
        devices, "choose_device", lambda name: torch.device("cuda" if name == "auto" and gpu else "cpu")
    )
    monkeypatch.setattr(devices, "is_fast_at_bf16", lambda _: fast)
    assert runtime.choose_library(Path("d"), True, CPU.model_copy(update=changes)) == chosen


def test_fp32_is_the_default_and_only_fast_asks_for_less() -> None:
    from deepfake.commands import check, predict
    from deepfake.commands.arguments import predict_given

    for command in (check, predict):
        assert predict_given(command.arguments().parse_args(["v"])).precision == "fp32" == Predict().precision
        fast = predict_given(command.arguments().parse_args(["v", "--fast", "--engine", "torch"]))
        assert (fast.precision, fast.engine) == ("auto", "torch")


def test_a_new_stack_keeps_the_graphs_byte_by_byte_and_gives_them_to_a_file_without(copied: Path) -> None:
    out = copied.with_name("out.safetensors")
    before = load(copied.read_bytes())
    write_stack(copied, out, stack("wide", "near-250"))
    after = load(out.read_bytes())
    assert before.keys() == after.keys() and all(np.array_equal(before[name], after[name]) for name in before)
    write_stack(without_graphs(copied), out, stack("wide", "near-250"))
    assert engines(open_detector(out, CPU)) == {"ONNX Runtime"}


def test_where_the_engines_disagree_the_file_stays_as_it_was(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = without_graphs(copied).read_bytes()
    apart = graphs.Difference("frames.0", 32, 0.0011, 0.0, 0.0)
    monkeypatch.setattr(graphs, "compare", lambda *_: [apart])
    words = "ONNX Runtime moves a logit of frames.0 at 32 px by 0.0011, wanted 0.001 at most; it stays without graphs"
    with pytest.raises(UserError, match=words):
        graphs.add_graphs(copied, copied)
    graphs.add_graphs_where_possible(copied)
    assert copied.read_bytes() == before
    assert [path.name for path in copied.parent.iterdir()] == [copied.name], "nothing is left beside it"


def test_a_network_that_cannot_be_written_is_named(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no symbol for aten::odd")

    monkeypatch.setattr(torch.onnx, "export", fail)
    frames = load_detector(copied).members[0].frames
    with pytest.raises(UserError, match=r"frames.0 \(test_efficientnet\) cannot be written as ONNX: no symbol"):
        export_network(frames, "frames.0", 32)


def test_kept_scores_say_which_engine_made_them(written: Path, tmp_path: Path) -> None:
    extraction = Extraction("v", shard="ab.tar")
    made = kept_scores(Networks(open_detector(written, CPU), CPU), extraction, tmp_path, "w", lambda *_: [])
    torch = Networks(load_detector(written), CPU)
    known = kept_scores(torch, extraction, tmp_path, "w", lambda *_: pytest.fail("both engines' scores are the same"))
    assert made == known and known.engine.name == "ONNX Runtime"
    assert known.engine.words == f"ONNX Runtime {known.engine.version} on CPU, fp32"


def test_threads_are_those_of_the_setting_or_the_cores(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [m.frames.threads for m in open_detector(written, CPU).members] == [1, 1]
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    have = runtime.cores()
    assert have >= 1
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert runtime.cores() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "9999")
    assert runtime.cores() == have


def test_scoring_by_onnx_runtime_imports_no_torch(written: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nimport numpy as np\n"
        "from deepfake.detector.file import open_detector\n"
        "from deepfake.scoring.frame_scorer import FrameScorer\nfrom deepfake.settings import CropView, Predict\n"
        f"for member in open_detector(Path({str(written)!r}), Predict()).members:\n"
        "    scorer = FrameScorer(member.frames, Predict())\n"
        "    print(scorer.in_views([CropView(mirror=True)], [np.zeros((40, 40, 3), np.uint8)])[0].shape)\n"
        "print(sorted({'torch', 'timm', 'torchvision', 'onnx'} & set(sys.modules)))"
    )
    where = Path(__file__).parents[2] / "src"
    done = subprocess.run([sys.executable, "-c", code], cwd=where, capture_output=True, text=True)
    assert done.stdout.split("\n")[:3] == ["(1,)", "(1,)", "[]"], done.stderr


def test_the_shipped_detector_has_graphs() -> None:
    from deepfake.files import PROJECT_ROOT

    for path in (PROJECT_ROOT / "data/weights").glob("*.safetensors"):
        assert "graphs" in read_header(path)
        assert engines(open_detector(path, CPU)) == {"ONNX Runtime"}
