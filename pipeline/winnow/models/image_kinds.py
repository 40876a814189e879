"""What bytes are that no decoder takes for a picture, by how they begin."""

from __future__ import annotations

import re

#: Of data, looked at: the marks of tar and DICOM stand furthest behind.
_HEAD = 1024

# Formats that are decoded: such a file is damaged in what its header says.
_DECODED = {
    "PNG": rb"\x89?PNG\r\n",
    "JPEG": rb"\xff\xd8\xff",
    "GIF": rb"GIF8[79]a",
    "WEBP": rb"RIFF....WEBP",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    "AVIF": rb"....ftypavi[fs]",
    "JPEG2000": rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    "BMP": rb"BM.{4}\0\0\0\0",
    "PSD": rb"8BPS",
    "FLI": rb"....[\x11\x12]\xaf",
    "DDS": rb"DDS ",
    "QOI": rb"qoif",
    "ICNS": rb"icns",
    "SUN": rb"\x59\xa6\x6a\x95",
    "SGI": rb"\x01\xda[\0\x01][\x01\x02]",
    "MSP": rb"DanM|LinS",
    "CUR": rb"\0\0\x02\0",
    "ICO": rb"\0\0\x01\0.\0",
    "PPM": rb"P[1-6][\s0-9]",
}
_OTHERS = {
    "HEIF": rb"....ftyp(heic|heix|hevc|mif1|msf1)",
    "JPEG XL": rb"\xff\x0a|\0\0\0\x0cJXL ",
    "JPEG XR": rb"II\xbc",
    "SVG": rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?(<!DOCTYPE svg|<svg)",
    "HTML": rb"(?i)\s*(<!--.*?-->\s*)?(<!doctype html|<html|<head|<body)",
    "PDF": rb"%PDF-",
    "EPS": rb"%!PS|\xc5\xd0\xd3\xc6",
    "FITS": rb"SIMPLE  =",
    "OpenEXR": rb"\x76\x2f\x31\x01",
    "Radiance HDR": rb"#\?(RADIANCE|RGBE)",
    "XCF": rb"gimp xcf",
    "DjVu": rb"AT&TFORM",
    "XVThumb": rb"P7 332",
    "FlashPix, or another file of Microsoft OLE,": rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    "DICOM": rb".{128}DICM",
    "MP4": rb"....ftyp",
    "Matroska": rb"\x1a\x45\xdf\xa3",
    "a ZIP archive": rb"PK\x03\x04",
    "a gzip file": rb"\x1f\x8b\x08",
    "a tar": rb".{257}ustar",
    "a colour profile": rb".{36}acsp",
    "a font": rb"\0\x01\0\0\0.[\0\x01].|OTTO|true\0|wOF[F2]|\x01fcp|STARTFONT|PILfont",
    "XML": rb"\s*<\?xml",
}


def other_kind(data: bytes) -> str | None:
    """Return what data are that no decoder here is for; None: nothing that is known.

    >>> other_kind(b"%PDF-1.7 ...")
    'PDF'
    """
    return next((name for name, mark in _OTHERS.items() if _begins(data, mark)), None)


def damaged_kind(data: bytes) -> str | None:
    """Return the format that data begin as, of those that are decoded; None: none."""
    return next((name for name, mark in _DECODED.items() if _begins(data, mark)), None)


def is_plain_text(data: bytes) -> bool:
    """Whether data begin as text: an error of a server, a caption, a list.

    >>> is_plain_text(b"404: not found"), is_plain_text(bytes(9))
    (True, False)
    """
    head = data[:_HEAD]
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # What was cut is no letter yet.
        if len(head) < _HEAD or error.start < len(head) - 3:
            return False
        text = head[: error.start].decode("utf-8-sig")
    return bool(text) and all(c.isprintable() or c in "\t\r\n\f" for c in text)


def _begins(data: bytes, mark: bytes) -> bool:
    return re.match(mark, data[:_HEAD], re.DOTALL) is not None
