"""A zip in which every byte is accounted for: nothing compressed, no time, no attributes, one order.

Any tool opens it. What is read back must be, byte by byte, what :func:`written` writes: so there is no link
in it, no second file of a name, nothing before, between or behind, and nothing larger than it looks.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_VERSION, _UTF8, _DAY = 20, 0x800, 0x21  # 1980-01-01, the first that a zip can say


def written(members: Mapping[str, bytes]) -> bytes:
    """A zip of the members, in their order.

    >>> import io, zipfile
    >>> zipfile.ZipFile(io.BytesIO(written({"a/b.txt": b"hi"}))).read("a/b.txt")
    b'hi'
    """
    body, directory = bytearray(), bytearray()
    for name, content in members.items():
        encoded, size = name.encode(), len(content)
        common = (_VERSION, _UTF8, 0, 0, _DAY, zlib.crc32(content), size, size, len(encoded), 0)
        directory += _CENTRAL.pack(b"PK\1\2", _VERSION, *common, 0, 0, 0, 0, len(body)) + encoded
        body += _LOCAL.pack(b"PK\3\4", *common) + encoded + content
    count = len(members)
    end = _END.pack(b"PK\5\6", 0, 0, count, count, len(directory), len(body), 0)
    return bytes(body + directory + end)


def read(data: bytes, *, most: int) -> dict[str, bytes]:
    """The members of a zip that :func:`written` wrote, ``most`` of them at most. Raises ValueError.

    >>> read(written({"a": b"1", "b": b""}), most=9)
    {'a': b'1', 'b': b''}
    """
    members: dict[str, bytes] = {}
    at = 0
    while data[at : at + 4] == b"PK\3\4":
        if len(members) == most:
            raise ValueError(f"it holds more than {most:,} files")
        try:
            fields = _LOCAL.unpack_from(data, at)
            _, _, _, method, _, _, _, size, plain, length, extra = fields
            at += _LOCAL.size
            name = data[at : at + length].decode()
        except (struct.error, UnicodeDecodeError):
            raise ValueError("it is cut off, or a name in it is not UTF-8") from None
        if method or extra or size != plain:
            raise ValueError("it was compressed, or written by another tool")
        if name in members:
            raise ValueError(f"it holds {name!r} twice")
        at += length
        members[name] = data[at : at + size]
        at += size
    if not members or written(members) != data:
        raise ValueError("it is not whole, or was written by another tool")
    return members
