"""What files say of their origin: credentials signed here by test keys, tags, times, hostile text."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import av
import pytest

import clip_factory
import signed_clips
from deepfake.commands import check as check_command
from deepfake.detector.check import Sign
from deepfake.errors import UserError
from deepfake.evidence import credentials, gathering, provenance
from deepfake.evidence.credentials import Credential, UnreadError, read_credential
from deepfake.evidence.signs import GROUPS
from deepfake.faces.extracted import Extraction
from deepfake.media.boxes import BoxTimes, read_boxes
from deepfake.media.file_facts import read_tags
from evidence_groups import bare_check

AI = {
    "action": "c2pa.created",
    "digitalSourceType": f"{signed_clips.SOURCE_TYPES}/trainedAlgorithmicMedia",
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip_factory.write(tmp_path_factory.mktemp("origin") / "clip.mp4", clip_factory.Coding(n_frames=12))


@pytest.fixture(scope="module")
def newsroom() -> signed_clips.Signer:
    return signed_clips.signer("Example Newsroom")


@pytest.fixture(scope="module")
def signed(clip: Path, newsroom: signed_clips.Signer) -> Path:
    return signed_clips.sign(clip, clip.with_name("signed.mp4"), newsroom)


def origin(path: Path, trust_list: Path | None = None) -> dict[str, Sign]:
    signs = provenance._of_credentials(path, read_boxes(path), trust_list)
    return {sign.kind.removeprefix("origin."): sign for sign in signs}


def marks(tags: dict[str, str], xmp: str = "", times: tuple[BoxTimes, ...] = ()) -> dict[str, Sign]:
    return {sign.kind.removeprefix("origin."): sign for sign in provenance.of_marks(tags, xmp, times)}


def test_a_file_without_credentials_says_so_and_loads_no_library(clip: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from deepfake.evidence.provenance import _of_credentials, read_boxes\n"
        f"p = Path({str(clip)!r}); print(next(_of_credentials(p, read_boxes(p), None)).kind, 'c2pa' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert said == ["origin.credential_none", "False"]


def test_a_signature_by_somebody_unknown_fits_the_file_and_is_not_trusted(signed: Path) -> None:
    sign = origin(signed)["signer_unknown"]
    assert "'Example Newsroom'" in sign.finding and "'Example Camera 1.2'" in sign.finding
    assert "edited" in sign.finding and sign.strength == 0.5


def test_a_signature_is_valid_by_the_trust_list_that_holds_its_root(
    signed: Path, newsroom: signed_clips.Signer, tmp_path: Path
) -> None:
    ours, others = tmp_path / "ours.pem", tmp_path / "others.pem"
    ours.write_bytes(newsroom.root)
    others.write_bytes(signed_clips.signer("Somebody else").root)
    assert list(origin(signed, ours)) == ["credential_valid"]
    assert "does not hold" in origin(signed, others)["signer_unknown"].finding


def test_one_changed_byte_of_the_picture_breaks_the_credential(signed: Path, tmp_path: Path) -> None:
    data = bytearray(signed.read_bytes())
    data[data.rindex(b"mdat") + 500] ^= 1
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(data)
    sign = origin(broken)["credential_broken"]
    assert "another hash" in sign.finding and sign.strength == 1.0


def test_what_a_signer_calls_made_by_ai_is_a_sign_of_its_own(clip: Path, newsroom: signed_clips.Signer) -> None:
    path = signed_clips.sign(clip, clip.with_name("ai.mp4"), newsroom, [AI])
    found = origin(path)
    assert list(found) == ["signer_unknown", "made_by_ai"]
    assert "made by generative AI" in found["made_by_ai"].finding


def test_hostile_text_in_a_manifest_is_cut_and_printable(clip: Path) -> None:
    evil = "<script>alert(1)</script>\x1b[31m\u202e" + "A" * 20_000
    signer = signed_clips.signer("<b>Evil</b>")
    path = signed_clips.sign(
        clip,
        clip.with_name("evil.mp4"),
        signer,
        [{"action": "c2pa.edited", "parameters": {"n": 10**300}}, {"action": f"com.example.{evil}"}],
        evil,
    )
    for sign in origin(path).values():
        assert sign.finding.isprintable() and "\n" not in sign.finding and len(sign.finding) < 500


def test_nothing_is_fetched_for_a_manifest_that_lies_elsewhere(clip: Path, newsroom: signed_clips.Signer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/manifest.c2pa"
        path = signed_clips.sign(clip, clip.with_name("remote.mp4"), newsroom, remote_url=url)
        sign = origin(path)["credential_elsewhere"]
        assert "not fetched" in sign.finding and "127.0.0.1" in sign.finding
        with pytest.raises(UnreadError):
            read_credential(path)
        with pytest.raises(TimeoutError):
            server.accept()


def test_the_library_would_fetch_it_if_it_were_allowed(
    clip: Path, newsroom: signed_clips.Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "_OFFLINE", {})
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/manifest.c2pa"
        path = signed_clips.sign(clip, clip.with_name("fetched.mp4"), newsroom, remote_url=url)
        asked = []

        def answer() -> None:
            connection, _ = server.accept()
            asked.append(connection.recv(100))
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(UnreadError):
            read_credential(path)
        thread.join()
    assert asked and asked[0].startswith(b"GET")


def test_a_credential_of_fifty_megabytes_is_named_and_not_read(clip: Path, tmp_path: Path) -> None:
    kind = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
    path = tmp_path / "huge.mp4"
    size = 50_000_000
    with path.open("wb") as file:
        file.write(clip.read_bytes())
        file.write((size + 24).to_bytes(4, "big") + b"uuid" + kind)
        file.truncate(file.tell() + size)
    sign = origin(path)["credential_unread"]
    assert "50.0 MB" in sign.finding and sign.strength == 0


def test_garbage_where_credentials_should_be_is_said_not_raised(clip: Path, tmp_path: Path) -> None:
    kind = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
    path = tmp_path / "garbage.mp4"
    path.write_bytes(clip.read_bytes() + (8 + 16 + 4000).to_bytes(4, "big") + b"uuid" + kind + b"\xfe" * 4000)
    assert list(origin(path)) == ["credential_unread"]


def test_without_the_library_the_extra_is_named(signed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "find_spec", lambda name: None)
    sign = origin(signed)["credential_unread"]
    assert "deepfake[evidence]" in sign.finding and sign.strength == 0


def test_a_trust_list_that_is_none_is_the_users_mistake(signed: Path, tmp_path: Path) -> None:
    path = tmp_path / "list.pem"
    for text in (b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"\xff\xfe"):
        path.write_bytes(text)
        with pytest.raises(UserError, match=r"list\.pem"):
            read_credential(signed, path)


@pytest.mark.parametrize(
    "store",
    [
        {},
        {"manifests": []},
        {"active_manifest": 3, "manifests": {"a": None}},
        {"active_manifest": "a", "manifests": {"a": {"assertions": [None, {"data": {"actions": [7]}}]}}},
    ],
)
def test_a_manifest_of_any_shape_gives_a_credential_with_nothing_in_it(store: dict[str, object]) -> None:
    credential = credentials._credential(store, "Invalid")
    assert credential.state == "broken" and credential.ai == () and credential.signer == ""


def test_ai_in_a_part_is_told_from_ai_in_the_whole() -> None:
    ai = {"label": "c2pa.actions.v2", "data": {"actions": [AI]}}
    store = {"active_manifest": "a", "manifests": {"a": {"assertions": []}, "b": {"assertions": [ai]}}}
    credential = credentials._credential(store, "Valid")
    assert credential.ai == () and credential.of_parts == ("made by generative AI",)
    said = [sign.finding for sign in provenance.of_credential(credential, False) if sign.kind == "origin.made_by_ai"]
    assert said == ["Its Content Credentials say: made by generative AI, in a part that it was made from."]


def test_editing_software_encoders_and_phones_are_named() -> None:
    found = marks({"video.handler_name": "\x1fMainconcept Video", "com.apple.quicktime.software": "iMovie 10.1"})
    assert "iMovie" in found["editing_software"].finding and "MainConcept" in found["editing_software"].finding
    found = marks(
        {"encoder": "Lavf60.3.100", "com.apple.quicktime.make": "Apple", "com.apple.quicktime.model": "iPhone 15"}
    )
    assert set(found) == {"encoder_library", "phone"} and "'Apple iPhone 15'" in found["phone"].finding


def test_a_word_within_another_is_no_mark() -> None:
    assert marks({"encoder": "Davidson Motors", "comment": "a splendid avidity"}) == {}
    assert marks({"title": "How Sora and HeyGen work"}) == {}


@pytest.mark.parametrize(
    "tags",
    [
        {"aigc_info": '{"aigc_label_type": 1}'},
        {"AIGC": '{"Label":"1","ContentProducer":"x"}'},
        {"comment": '{"3": {"class_type": "KSampler", "inputs": {}}}'},
        {"prompt": "a face"},
        {"encoder": "FaceFusion 3.1"},
    ],
)
def test_marks_that_generators_leave_are_found(tags: dict[str, str]) -> None:
    assert "generator_mark" in marks(tags)


def test_a_label_that_says_no_ai_is_no_mark() -> None:
    assert "generator_mark" not in marks({"aigc_info": '{"aigc_label_type": 0}'})


def test_ai_is_read_from_xmp_without_an_xml_parser() -> None:
    xmp = f"<rdf:Description Iptc4xmpExt:DigitalSourceType='{signed_clips.SOURCE_TYPES}/trainedAlgorithmicMedia'/>"
    assert "generative AI" in marks({}, xmp)["generator_mark"].finding
    assert (
        provenance.xmp_value('<x xmp:CreatorTool="Adobe Premiere Pro 24"/>', "xmp:CreatorTool")
        == "Adobe Premiere Pro 24"
    )
    assert provenance.xmp_value("<xmp:CreatorTool>CapCut</xmp:CreatorTool>", "xmp:CreatorTool") == "CapCut"


def test_times_a_day_apart_disagree_and_those_of_time_zones_do_not() -> None:
    def said(*times: str) -> list[str]:
        named = [(f"clock {i}", datetime.fromisoformat(time).replace(tzinfo=UTC)) for i, time in enumerate(times)]
        return list(provenance.disagreements(named, {}, ""))

    assert said("2024-03-01T10:00:00", "2024-03-01T23:00:00") == []
    (words,) = said("2024-03-01T10:00:00", "2024-03-05T11:00:00")
    assert "2024-03-01" in words and "2024-03-05" in words and "4 days" in words


def test_software_younger_than_the_time_it_names_is_a_contradiction() -> None:
    found = marks({"creation_time": "2015-06-01T10:00:00Z", "encoder": "Lavf60.3.100"})
    assert "2023 or later" in found["times_disagree"].finding
    assert "times_disagree" not in marks({"creation_time": "2024-06-01T10:00:00Z", "encoder": "Lavf60.3.100"})


def test_times_in_the_headers_of_a_file_are_read(clip: Path, tmp_path: Path) -> None:
    data = bytearray(clip.read_bytes())
    at = data.index(b"mvhd") + 8  # after version and flags
    made = int((datetime(2020, 1, 2, tzinfo=UTC) - datetime(1904, 1, 1, tzinfo=UTC)).total_seconds())
    data[at : at + 4] = made.to_bytes(4, "big")
    path = tmp_path / "dated.mp4"
    path.write_bytes(data)
    assert read_boxes(path).times[0] == BoxTimes("the file", datetime(2020, 1, 2, tzinfo=UTC), None)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 2**31, 2**32 - 1])
def test_boxes_with_sizes_that_cannot_be_end_the_walk(size: int, tmp_path: Path) -> None:
    path = tmp_path / "odd.mp4"
    head = (16).to_bytes(4, "big") + b"ftypisom\0\0\0\0"
    path.write_bytes(head + size.to_bytes(4, "big") + b"moov" + (size.to_bytes(4, "big") + b"udta") * 3000)
    assert read_boxes(path).credential_bytes == 0


def test_credentials_in_avi_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    path.write_bytes(b"RIFF\x00\x01\x00\x00AVI C2PA\x0a\x00\x00\x00" + b"x" * 10)
    assert read_boxes(path).credential_bytes == 10


def test_tags_of_any_length_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "tagged.mp4"
    with av.open(str(path), "w", options={"movflags": "use_metadata_tags"}) as container:
        for number in range(300):
            container.metadata[f"t{number}"] = "x" * 5000
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        container.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        container.mux(stream.encode(None))
    tags = read_tags(path)
    assert len(tags) <= 200 and max(len(value) for value in tags.values()) <= 4000


def test_a_failure_that_no_table_knows_is_named_as_it_is() -> None:
    credential = Credential("broken", "", "", "", (), (), (), ("assertion.odd",))
    (sign,) = provenance.of_credential(credential, False)
    assert "(assertion.odd)" in sign.finding and json.loads(sign.model_dump_json())["strength"] == 1


def test_both_groups_examine_a_signed_file_in_processes_of_their_own(
    signed: Path, newsroom: signed_clips.Signer, tmp_path: Path
) -> None:
    trusted = tmp_path / "ours.pem"
    trusted.write_bytes(newsroom.root)
    groups = {name: GROUPS[name] for name in ("origin", "coding")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gathering, "GROUPS", groups)
        with gathering.gathering(trust_list=trusted) as gather:
            made, found = gather(bare_check(str(signed)), Extraction("v"), tmp_path)
    kinds = [sign.kind for sign in made.evidence or ()]
    assert kinds == ["origin.credential_valid", "origin.encoder_library", "coding.none_found"]
    assert [len(curve.times_s) for curve in found.curves] == [12]


def test_a_trust_list_is_refused_before_the_work(signed: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "list.pem"
    wrong.write_text("no certificate")
    for more, words in ((["--evidence"], "wanted a file of PEM certificates"), ([], "add --evidence")):
        args = check_command.arguments().parse_args([str(signed), "--trust-list", str(wrong), *more])
        with pytest.raises(UserError, match=words):
            check_command.run(args)
    with pytest.raises(UserError, match="could not be read"):
        credentials.read_trust_list(tmp_path / "nothing.pem")
