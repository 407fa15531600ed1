"""Is this ZIP safe to hand to a library? By its directory, and by really inflating it."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator

from ingest.parse.options import ParseOptions
from rag.errors import SourceError

_STEP = 1 << 20


def check_archive(data: bytes, options: ParseOptions) -> list[str]:
    """The members' names, after every member was inflated and found to be of the size it declares.

    A directory that lies about sizes, overlapping members and long runs of zeros are the usual
    bombs (Fifield 2019, "A better zip bomb"). Entity definitions are refused: no office format
    needs one. Raises SourceError: ``damaged``, ``encrypted`` or ``too_large``.
    """
    try:
        members = zipfile.ZipFile(io.BytesIO(data)).infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
        raise SourceError(
            "damaged", f"not a whole ZIP container ({error}); the file may be cut off"
        ) from None
    if len(members) > options.max_archive_entries:
        raise SourceError(
            "too_large", f"{len(members):,} members; the limit is {options.max_archive_entries:,}"
        )
    room = options.max_bytes_expanded
    if sum(member.file_size for member in members) > room:
        raise SourceError("too_large", f"the container expands to more than {room:,} bytes")
    for member in members:
        if member.flag_bits & 1:
            raise SourceError("encrypted", "the container asks for a password; save the file without one")
        room -= _inflated_size(data, member, room)
    return [member.filename for member in members]


def _inflated_size(data: bytes, member: zipfile.ZipInfo, room: int) -> int:
    header = data[member.header_offset : member.header_offset + 30]
    if len(header) < 30 or not header.startswith(b"PK\x03\x04"):
        raise SourceError("damaged", f"the member {member.filename!r} is not where the directory says")
    name, extra = struct.unpack("<HH", header[26:30])
    start = member.header_offset + 30 + name + extra
    packed = memoryview(data)[start : start + member.compress_size]
    size = 0
    tail = b""
    for block in _inflate(packed, member):
        size += len(block)
        if size > room:
            raise SourceError("too_large", f"the member {member.filename!r} expands without end")
        if b"<!ENTITY" in tail + block[:16] or b"<!ENTITY" in block:
            raise SourceError("damaged", f"the member {member.filename!r} defines XML entities")
        tail = block[-16:]
    if size != member.file_size:
        raise SourceError("damaged", f"the member {member.filename!r} is not of the size that it declares")
    return size


def _inflate(packed: memoryview, member: zipfile.ZipInfo) -> Iterator[bytes]:
    if member.compress_type == zipfile.ZIP_STORED:
        for start in range(0, len(packed), _STEP):
            yield bytes(packed[start : start + _STEP])
        return
    if member.compress_type != zipfile.ZIP_DEFLATED:
        raise SourceError(
            "unsupported", f"ZIP compression method {member.compress_type}; save the file again"
        )
    inflater = zlib.decompressobj(-15)
    rest: bytes | memoryview = packed
    try:
        while not inflater.eof and (block := inflater.decompress(rest, _STEP)):
            yield block
            rest = inflater.unconsumed_tail
    except zlib.error as error:
        raise SourceError("damaged", f"the member {member.filename!r} does not inflate ({error})") from None
