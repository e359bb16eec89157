"""What a file is that no demuxer takes for a video, by its first bytes, and what may be done with it."""

from __future__ import annotations

_AGAIN = "fetch it again or leave it out"
_LEAVE = "leave it out"
_TO_MP4 = "convert it to MP4 first, for example with ImageMagick: `magick FILE.webp FILE.mp4`"
_UNPACK = "unpack it first"
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "a PNG picture", _LEAVE),
    (b"\xff\xd8\xff", "a JPEG picture", _LEAVE),
    (b"BM", "a BMP picture", _LEAVE),
    (b"II*\0", "a TIFF picture or a camera's raw file", _LEAVE),
    (b"MM\0*", "a TIFF picture or a camera's raw file", _LEAVE),
    (b"%PDF", "a PDF document", _LEAVE),
    (b"PK\3\4", "a ZIP archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"\x1f\x8b", "a gzip archive", _UNPACK),
    (b"#EXTM3U", "a playlist, which names a video and holds none", "fetch the video itself"),
)
_PICTURE_BRANDS = {b"heic", b"heix", b"mif1", b"avif"}


def kind_of(head: bytes) -> tuple[str, str]:
    """What a file that begins so is, and what to do about it."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        # FFmpeg's own demuxer of WebP reads still pictures only.
        is_animated = head[12:16] == b"VP8X" and bool(head[20:21] and head[20] & 2)
        return ("an animated WebP, which FFmpeg cannot read", _TO_MP4) if is_animated else ("a WebP picture", _LEAVE)
    if head[4:8] == b"ftyp":
        if head[8:12] in _PICTURE_BRANDS:
            return "a HEIF picture", _LEAVE
        return "an MP4 without its index (moov), probably cut short", _AGAIN
    for signature, name, remedy in _SIGNATURES:
        if head.startswith(signature):
            return name, remedy
    if not head.strip(b"\0"):
        return "nothing but zeros, probably an unfinished download", _AGAIN
    return _text_kind(head)


def _text_kind(head: bytes) -> tuple[str, str]:
    try:
        text = head.decode("utf-8", errors="strict")
    except UnicodeDecodeError:
        return "bytes that are no known video container", _AGAIN
    if text.lstrip().lower().startswith(("<!doctype html", "<html")):
        return "a web page (HTML)", "fetch the video itself"
    is_text = text.isprintable() or "\n" in text
    return "text" if is_text else "bytes that are no known video container", _AGAIN
