"""Where a file says that it comes from: Content Credentials, and marks that cameras and software leave.

Signs of the group `origin`. All but a valid credential is hearsay: anybody can write or remove it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from deepfake.detector.check import Sign
from deepfake.evidence import credentials
from deepfake.evidence.credentials import AI_SOURCES, Credential, UnreadError, shown
from deepfake.evidence.signs import Examined, Found
from deepfake.media.boxes import Boxes, BoxTimes, read_boxes
from deepfake.media.demux import VideoError
from deepfake.media.file_facts import read_tags

HEARSAY = "Anybody can write, copy or remove such marks; that they are missing says nothing."
OF_SIGNATURES = (
    "It tells who vouches for the file since it was signed, not whether what it shows is true; most files have none, "
    "and whoever removes it leaves no trace."
)
_BY_ADOBE = "software by Adobe"
OF_NONE = "Most files have none, and whoever removes them leaves no trace: that says nothing for or against the video."
# What a tag holds, and the software that writes it; the first that fits is named.
EDITORS = {
    r"adobe premiere|ppro": "Adobe Premiere",
    r"after effects|aftereffects": "Adobe After Effects",
    r"adobe": _BY_ADOBE,
    r"final ?cut": "Final Cut Pro",
    r"imovie": "iMovie",
    r"davinci|blackmagic": "DaVinci Resolve",
    r"capcut|jianying|lveditor|videoeditor.*bytedance": "CapCut",
    r"filmora|wondershare": "Filmora",
    r"vegas|sony creative": "VEGAS",
    r"kdenlive": "Kdenlive",
    r"shotcut": "Shotcut",
    r"openshot": "OpenShot",
    r"camtasia|techsmith": "Camtasia",
    r"inshot": "InShot",
    r"kinemaster": "KineMaster",
    r"handbrake": "HandBrake",
    r"avid": "Avid",
    r"avidemux": "Avidemux",
    r"lightworks": "Lightworks",
    r"nero": "Nero",
    r"mainconcept": "MainConcept's encoder, which editing software uses",
    r"obs[ -]studio|obs-output": "OBS Studio, which records screens",
    r"bandicam": "Bandicam, which records screens",
    r"blender": "Blender",
    r"virtualdub": "VirtualDub",
    r"gpac|mp4box": "MP4Box",
    r"moviepy": "MoviePy",
}
ENCODERS = {
    r"x264": "x264",
    r"x265": "x265",
    r"svt-?av1": "SVT-AV1",
    r"libaom": "libaom",
    r"libvpx": "libvpx",
    r"lavf|lavc": "FFmpeg",
}
# Names that generators and tools for forging write; as words, in any tag but titles, which people write.
GENERATORS = {
    r"comfyui": "ComfyUI",
    r"animatediff": "AnimateDiff",
    r"stable[ -]?diffusion": "Stable Diffusion",
    r"facefusion": "FaceFusion",
    r"deepfacelab": "DeepFaceLab",
    r"deepfacelive": "DeepFaceLive",
    r"roop": "roop",
    r"heygen": "HeyGen",
    r"synthesia": "Synthesia",
    r"d-id": "D-ID",
    r"runway ?ml|runway gen": "Runway",
    r"midjourney": "Midjourney",
    r"openai|sora": "OpenAI",
    r"google veo|veo [23]": "Veo",
    r"kling ?ai": "Kling",
    r"hailuo|minimax": "Hailuo",
    r"pika ?labs": "Pika",
    r"luma ?(ai|labs|dream machine)": "Luma",
    r"hedra": "Hedra",
    r"animate ?anyone|sadtalker|wav2lip|liveportrait": "a tool for talking heads",
}
PLATFORMS = {
    r"google inc|^google": "YouTube or another Google service",
    r"vimeo": "Vimeo",
    r"twitter-vork": "X (Twitter)",
}
# The year in which a version of an encoder first came out: a file of it is not older.
X264_YEARS = {142: 2014, 148: 2015, 152: 2017, 155: 2018, 157: 2018, 160: 2020, 161: 2020, 163: 2021, 164: 2022}
LAVF_YEARS = {54: 2012, 55: 2013, 56: 2014, 57: 2015, 58: 2018, 59: 2022, 60: 2023, 61: 2024, 62: 2025}
APART = timedelta(days=1)  # clocks and time zones differ by less
_WRITTEN_BY_PEOPLE = {"title", "artist", "album", "album_artist", "genre", "description", "synopsis", "copyright"}
_MAKE = ("com.apple.quicktime.make", "com.android.manufacturer", "make")
_MODEL = ("com.apple.quicktime.model", "com.android.model", "model")
_TIME_TAGS = {
    "com.apple.quicktime.creationdate": "the camera's tag",
    "date_utc": "its tag",
    "creation_time": "the file",
}
_XMP_VALUE = r"(?:{0}\s*=\s*[\"']([^\"'<>]{{1,200}})|<{0}[^>]{{0,200}}>\s*(?:<rdf:\w+[^>]{{0,80}}>\s*)*([^<]{{1,200}}))"


def find(examined: Examined) -> Found:
    """What the file says of its origin."""
    boxes = read_boxes(examined.path)
    try:
        tags = read_tags(examined.path)
    except VideoError:
        tags = {}
    video = examined.check.video
    if video is not None and "encoder_settings" in video.tags:
        tags["encoder_settings"] = video.tags["encoder_settings"]
    signs = [*_of_credentials(examined.path, boxes, examined.trust_list), *of_marks(tags, boxes.xmp, boxes.times)]
    return Found(tuple(signs))


def _sign(kind: str, finding: str, strength: float, about: str = HEARSAY) -> Sign:
    return Sign(kind=f"origin.{kind}", finding=finding, strength=strength, from_s=None, to_s=None, about=about)


def _of_credentials(path: Path, boxes: Boxes, trust_list: Path | None) -> Iterator[Sign]:
    remote = xmp_value(boxes.xmp, "dcterms:provenance")
    if boxes.credential_bytes == 0:
        if remote:
            words = f"The file names Content Credentials at {shown(remote, 80)}, which were not fetched."
            yield _sign("credential_elsewhere", words, 0.0, OF_SIGNATURES)
        else:
            yield _sign("credential_none", "The file holds no Content Credentials.", 0.0, OF_NONE)
        return
    size = f"{boxes.credential_bytes / 1e6:.1f} MB" if boxes.credential_bytes >= 1e5 else "some"
    try:
        if boxes.credential_bytes > credentials.MOST_BYTES:
            raise UnreadError(f"they are larger than the {credentials.MOST_BYTES >> 20} MB that are read")
        credential = credentials.read_credential(path, trust_list)
        if credential is None:
            raise UnreadError("nothing in them could be understood")
    except UnreadError as error:
        words = f"The file holds Content Credentials ({size}), but they could not be read: {error}."
        yield _sign("credential_unread", words, 0.0, OF_SIGNATURES)
        return
    yield from of_credential(credential, trust_list is not None)


def of_credential(credential: Credential, has_list: bool) -> Iterator[Sign]:
    """Signs of a credential that was read; `has_list`: the user said whom to trust."""
    by = f"by {credential.signer!r}" if credential.signer else "by nobody named"
    tool = f", made with {credential.tool!r}" if credential.tool else ""
    done = f"; it says that this was done: {', '.join(credential.actions[:6])}" if credential.actions else ""
    when = f" on {credential.signed[:10]}" if credential.signed else ""
    if credential.state == "broken":
        words = (
            f"Content Credentials signed {by}{when} do not fit the file ({_why(credential.failures)}): it was changed "
            "after they were made, or they belong to another."
        )
        yield _sign("credential_broken", words, 1.0, OF_SIGNATURES)
    elif credential.state == "trusted":
        words = f"Content Credentials are valid: signed {by}{when}, whom your trust list vouches for{tool}{done}."
        yield _sign("credential_valid", words, 1.0, OF_SIGNATURES)
    else:
        known = "whom your trust list does not hold" if has_list else "whom nobody vouches for: no trust list was given"
        words = f"Content Credentials fit the file, signer unknown: signed {by}{when}, {known}{tool}{done}."
        yield _sign("signer_unknown", words, 0.5, f"Anybody can sign by any name. {OF_SIGNATURES}")
    if credential.ai or credential.of_parts:
        claims = [*credential.ai, *(f"{words}, in a part that it was made from" for words in credential.of_parts)]
        strength = {"trusted": 1.0, "valid": 0.7, "broken": 0.4}[credential.state]
        words = f"Its Content Credentials say: {', '.join(claims[:3])}."
        yield _sign("made_by_ai", words, strength, f"It rests on who signed. {OF_SIGNATURES}")


def _why(failures: Sequence[str]) -> str:
    codes = [code for code in failures if not code.startswith("signingCredential.untrusted")]
    if any("Hash.mismatch" in code or "hashedURI.mismatch" in code for code in codes):
        return "the content has another hash than was signed"
    if any(code.startswith("claimSignature") for code in codes):
        return "the signature is not valid"
    if any(code.startswith("signingCredential") for code in codes):
        return "the certificate is not valid"
    return ", ".join(codes[:2]) or "not valid"


def of_marks(tags: Mapping[str, str], xmp: str, times: Sequence[BoxTimes]) -> Iterator[Sign]:
    """Signs of tags, of XMP and of the times in headers; `tags` by `name` or `stream.name`."""
    plain = {
        name.rpartition(".")[2] if name.split(".")[0] in ("video", "audio") else name: v for name, v in tags.items()
    }
    plain = {**plain, **{name: value for name, value in tags.items() if not name.startswith(("video.", "audio."))}}
    written = {name: value for name, value in tags.items() if name.rpartition(".")[2] not in _WRITTEN_BY_PEOPLE}
    by_xmp = [value for name in ("xmp:CreatorTool", "stEvt:softwareAgent") if (value := xmp_value(xmp, name))]
    text = " \n".join([*written.values(), *by_xmp])[:20_000].lower()
    yield from _generator(plain, xmp, text)
    editors = _named(EDITORS, text)
    if editors:
        words = f"Its marks name editing software: {', '.join(editors[:3])}."
        yield _sign("editing_software", words, 0.4, f"Cutting and converting are no forgery. {HEARSAY}")
    encoders = _named(ENCODERS, text)
    if encoders:
        words = f"Software coded or packed it ({', '.join(encoders[:3])}), not a camera."
        yield _sign("encoder_library", words, 0.2, f"Platforms and converters use it, too. {HEARSAY}")
    platforms = _named(PLATFORMS, text)
    if platforms:
        yield _sign("platform", f"Its marks are those of {platforms[0]}, which codes files anew.", 0.2)
    make, model = (next((plain[name] for name in names if plain.get(name)), "") for names in (_MAKE, _MODEL))
    if make or model:
        words = f"Its marks name a phone or camera: {shown(f'{make} {model}'.strip())!r}."
        yield _sign("phone", words, 0.3)
    contradiction = next(disagreements(times_of(plain, xmp, times), tags, text), None)
    if contradiction:
        yield _sign(
            "times_disagree", contradiction, 0.5, f"Clocks are set wrongly, and copies keep old times. {HEARSAY}"
        )


def _generator(plain: Mapping[str, str], xmp: str, text: str) -> Iterator[Sign]:
    aigc = next((value for name, value in plain.items() if name.lower() in ("aigc", "aigc_info")), "")
    label = re.search(r"[\"'](?:label|aigc_label_type)[\"']\s*:\s*[\"']?([123])\b", aigc.lower())
    source = re.search(r"digitalsourcetype/([A-Za-z]{1,60})", xmp)
    if label:
        words = "Its metadata hold a label of AI-made content (AIGC)."
        yield _sign("generator_mark", words, 0.6)
    elif source and source[1] in AI_SOURCES:
        yield _sign("generator_mark", f"Its metadata say: {AI_SOURCES[source[1]]}.", 0.6)
    else:
        workflow = {"prompt", "workflow"} & {name.lower() for name in plain} or (
            '"class_type"' in text and '"inputs"' in text
        )
        names = ["ComfyUI"] if workflow else _named(GENERATORS, text)
        if names:
            yield _sign("generator_mark", f"Its metadata name {names[0]}, which generates or forges pictures.", 0.6)


def _named(marks: Mapping[str, str], text: str) -> list[str]:
    found = [name for pattern, name in marks.items() if re.search(rf"(?<![a-z])(?:{pattern})(?![a-z])", text, re.M)]
    # A maker alone says less than its program.
    return [name for name in found if name != _BY_ADOBE or not any(one.startswith("Adobe") for one in found)]


def xmp_value(xmp: str, name: str) -> str:
    """The value of a property in XMP, as an attribute or an element; read as text, for XML may be hostile."""
    found = re.search(_XMP_VALUE.format(re.escape(name)), xmp)
    return (found[1] or found[2] or "").strip() if found else ""


def times_of(plain: Mapping[str, str], xmp: str, times: Sequence[BoxTimes]) -> list[tuple[str, datetime]]:
    """Who says that what was made when (UTC): (who, time)."""
    said = [(who, plain[name]) for name, who in _TIME_TAGS.items() if name in plain]
    said += [("its XMP", xmp_value(xmp, "xmp:CreateDate"))]
    named = [(who, time) for who, text in said if (time := _read_time(text))]
    return [*named, *((f"the header of {one.of}", one.created) for one in times if one.created is not None)]


def _read_time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text.strip()[:40])
    except ValueError:
        return None
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    return time if 1972 <= time.year <= 2100 else None


def disagreements(times: Sequence[tuple[str, datetime]], tags: Mapping[str, str], text: str) -> Iterator[str]:
    """In words: what the times that a file names have against each other, and against the software that made it."""
    if not times:
        return
    first, last = min(times, key=lambda one: one[1]), max(times, key=lambda one: one[1])
    year, software = _newest_software(tags, text)
    if year > last[1].year:
        yield (
            f"It names {_day(last[1])} as the time it was made, but was coded or packed by {software}, which is of "
            f"{year} or later."
        )
    if last[1] - first[1] > APART:
        days = (last[1] - first[1]).days
        yield (
            f"Times in the file disagree: {first[0]} says {_day(first[1])}, {last[0]} says {_day(last[1])}, "
            f"{days} {'day' if days == 1 else 'days'} apart."
        )


def _day(time: datetime) -> str:
    return f"{time:%Y-%m-%d}"


def _newest_software(tags: Mapping[str, str], text: str) -> tuple[int, str]:
    found = [(0, "")]
    for pattern, years, name in (
        (r"x264 - core (\d{1,4})", X264_YEARS, "x264"),
        (r"lavf(\d{1,3})\.", LAVF_YEARS, "FFmpeg"),
    ):
        for version in re.findall(pattern, text)[:20]:
            year = max((year for known, year in years.items() if known <= int(version)), default=0)
            found.append((year, f"{name} (version {version})"))
    return max(found)
