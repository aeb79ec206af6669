"""Damaging files of strangers: at random, and by rules that know the format far enough to get past its first check."""

from __future__ import annotations

import copy
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Rng = np.random.Generator
Mutator = Callable[[bytes, Rng], bytes]

NUMBERS = (0, 1, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)


def _pick(rng: Rng, things: Sequence[Any]) -> Any:
    return things[int(rng.integers(len(things)))]


def _span(data: bytes, rng: Rng) -> tuple[int, int]:
    length = 1 + int(2 ** rng.uniform(0, np.log2(max(2, len(data) / 2))))
    start = int(rng.integers(0, max(1, len(data) - length)))
    return start, min(len(data), start + length)


def _flip(data: bytes, rng: Rng) -> bytes:
    at = int(rng.integers(len(data)))
    return data[:at] + bytes([data[at] ^ 1 << int(rng.integers(8))]) + data[at + 1 :]


def _number(data: bytes, rng: Rng) -> bytes:
    """A number that is a limit of some type, in the place of what was there."""
    size, order = _pick(rng, (1, 2, 4, 8)), _pick(rng, ("little", "big"))
    at = int(rng.integers(len(data)))
    value = _pick(rng, NUMBERS) % 256**size
    return data[:at] + value.to_bytes(size, order) + data[at + size :]


def _cut(data: bytes, rng: Rng) -> bytes:
    return data[: int(rng.integers(len(data)))]


def _removed(data: bytes, rng: Rng) -> bytes:
    start, end = _span(data, rng)
    return data[:start] + data[end:]


def _doubled(data: bytes, rng: Rng) -> bytes:
    start, end = _span(data, rng)
    return data[:end] + data[start:end] * int(rng.integers(1, 5)) + data[end:]


def _zeroed(data: bytes, rng: Rng) -> bytes:
    start, end = _span(data, rng)
    return data[:start] + bytes(end - start) + data[end:]


def _noise(data: bytes, rng: Rng) -> bytes:
    start, end = _span(data, rng)
    return data[:start] + rng.bytes(end - start) + data[end:]


def _moved(data: bytes, rng: Rng) -> bytes:
    start, end = _span(data, rng)
    rest = data[:start] + data[end:]
    at = int(rng.integers(len(rest) + 1))
    return rest[:at] + data[start:end] + rest[at:]


_BYTES: tuple[Mutator, ...] = (_flip, _flip, _number, _number, _cut, _removed, _doubled, _zeroed, _noise, _moved)


def any_bytes(data: bytes, rng: Rng) -> bytes:
    """One to four damages to any file."""
    for _ in range(int(rng.integers(1, 5))):
        data = _pick(rng, _BYTES)(data, rng) if data else rng.bytes(8)
    return data


# text

_TOKENS = (
    b'"', b"'", b",", b";", b"\t", b"|", b"\n", b"\r\n", b"\r", b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80",
    b'""', b'"""', b"{", b"}", b"[", b"]", b":", b"\\", b"\\u0000", b"\\ud800", b"null", b"NaN", b"1e999", b"-0",
    b"9" * 5000, b"[" * 3000, b'{"a":' * 2000, b"../", b"/etc/passwd", b"sep=;\n", b"=1+1", b"#", b"x" * 70_000,
    "\u202e\u2028\x1b[2J".encode(), b"path", b"text", b"id", b"cat0_ind",
)  # fmt: skip


def text(data: bytes, rng: Rng) -> bytes:
    """What separates, quotes and ends lines, in wrong places; or any damage."""
    if rng.random() < 0.3:
        return any_bytes(data, rng)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(data) + 1))
        cut = int(rng.integers(0, 4))
        data = data[:at] + _pick(rng, _TOKENS) + data[at + cut :]
    return data


_DEEP: Any = 1
for _ in range(150):
    _DEEP = [_DEEP]
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 0.5, -0.0, 2**31, 2**53, 2**63, 2**64, 10**400, 1e308, 5e-324, "", " ", "x", "0",
    "null", "../../etc/passwd", "/etc/passwd", "a\nb\x1b[2J", "\ud800", "\u202e", "x" * 5000, [], {}, [[]], [None],
    [1, "a"],
    {"": None}, {"schema": 1}, _DEEP, float("nan"), float("inf"),
)  # fmt: skip


def _other(rng: Rng) -> Any:
    # A copy: what is put into a document may itself be changed later.
    return copy.deepcopy(_pick(rng, _VALUES))


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if len(path) > 40:
        return found
    if isinstance(value, dict):
        found += [place for key in value for place in _places(value[key], (*path, key))]
    elif isinstance(value, list):
        found += [place for at in range(min(len(value), 30)) for place in _places(value[at], (*path, at))]
    return found


def value(document: Any, rng: Rng) -> Any:
    """A JSON value with one to three places changed: other types, limits, names that are gone, twice or new."""
    document = json.loads(json.dumps(document))
    for _ in range(int(rng.integers(1, 4))):
        path = _pick(rng, _places(document))
        if not path:
            if rng.random() < 0.05:
                document = _other(rng)
            continue
        inside = document
        for step in path[:-1]:
            inside = inside[step]
        how = rng.random()
        if how < 0.55:
            inside[path[-1]] = _other(rng)
        elif how < 0.7:
            del inside[path[-1]]
        elif how < 0.85 and isinstance(inside, dict):
            inside[str(_other(rng))[:300]] = inside.pop(path[-1])
        elif isinstance(inside, list):
            inside += [inside[path[-1]]] * int(rng.integers(1, 300))
    return document


def json_text(data: bytes, rng: Rng) -> bytes:
    """A JSON file with other values in it, or other text."""
    if rng.random() < 0.3:
        return text(data, rng)
    return json.dumps(value(json.loads(data), rng)).encode()


def json_lines(data: bytes, rng: Rng) -> bytes:
    """A file of JSON lines, with one of them changed."""
    if rng.random() < 0.4:
        return text(data, rng)
    lines = data.splitlines()
    at = int(rng.integers(len(lines)))
    lines[at] = json.dumps(value(json.loads(lines[at]), rng)).encode()
    return b"\n".join(lines)


# binary formats


def safetensors(data: bytes, rng: Rng) -> bytes:
    """A header whose length and JSON hold and whose facts do not, or any damage."""
    if rng.random() < 0.3:
        return any_bytes(data, rng)
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    if "__metadata__" in header and rng.random() < 0.6:
        facts = header["__metadata__"]
        name = _pick(rng, list(facts))
        try:
            facts[name] = json.dumps(value(json.loads(facts[name]), rng))
        except ValueError:
            facts[name] = _pick(rng, ("", "{", "[]", "x" * 5000))
    else:
        header = value(header, rng)
    text_ = json.dumps(header).encode()
    tail = data[8 + size :]
    if rng.random() < 0.2 and tail:
        tail = any_bytes(tail, rng)
    return len(text_).to_bytes(8, "little") + text_ + tail


def stored_zip(data: bytes, rng: Rng) -> bytes:
    """A zip file without compression (of `torch.save`), one member damaged under a right checksum; or any damage."""
    if rng.random() < 0.3:
        return any_bytes(data, rng)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as target:
        names = source.namelist()
        # The pickle is what is read with most care.
        chosen = (
            next((n for n in names if n.endswith("data.pkl")), names[0]) if rng.random() < 0.6 else _pick(rng, names)
        )
        for name in names:
            content = source.read(name)
            target.writestr(name, any_bytes(content, rng) if name == chosen else content)
    return out.getvalue()


def parquet(data: bytes, rng: Rng) -> bytes:
    """A table of other types, sizes and encodings; or bytes damaged, the footer more than the rest."""
    how = rng.random()
    if how < 0.35:
        return any_bytes(data, rng)
    if how < 0.7:
        size = int.from_bytes(data[-8:-4], "little")
        footer = any_bytes(data[-8 - size : -8], rng)
        return data[: -8 - size] + footer + len(footer).to_bytes(4, "little") + b"PAR1"
    return _other_table(data, rng)


def _other_table(data: bytes, rng: Rng) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(data))
    rows, columns = table.num_rows, dict(zip(table.column_names, table.columns, strict=True))
    odd = (
        pa.array([None] * rows), pa.array([b"\xff\xfe"] * rows).view(pa.string()), pa.array([{"a": [1]}] * rows),
        pa.array([[["x"]]] * rows), pa.array(np.full(rows, np.nan)), pa.array(np.full(rows, np.inf)),
        pa.array(np.full(rows, 2**62)), pa.array([2**64 - 1] * rows, pa.uint64()), pa.array([True] * rows),
        pa.array(["x" * 3000] * rows), pa.array([["a/b", None]] * rows), pa.array([[1.0] * 2000] * rows),
        pa.array([b"x" * 9] * rows, pa.binary(9)), pa.array(["../../x"] * rows), pa.array([""] * rows),
        pa.array(["a"] * rows).dictionary_encode(), pa.array([1] * rows, pa.timestamp("us")),
        pa.array(np.zeros(rows, np.float16)), pa.array([-1] * rows), pa.array([[]] * rows, pa.list_(pa.null())),
    )  # fmt: skip
    for _ in range(int(rng.integers(1, 3))):
        name = _pick(rng, [*columns, "new", "", "\x1b[2J", "x" * 300])
        if rng.random() < 0.15:
            columns.pop(name, None)
        else:
            columns[name] = _pick(rng, odd)
    names = list(columns)
    if rng.random() < 0.05 and names:
        names[-1] = names[0]
    made = pa.table(list(columns.values()), names=names)
    if rng.random() < 0.3:
        noted = _pick(rng, (b"", b"{}", b"[]", b"[" * 5000, b'{"index_columns": ["gone"], "columns": [{}]}', b"\xff"))
        made = made.replace_schema_metadata({_pick(rng, (b"pandas", b"ARROW:schema", b"huggingface")): noted})
    out = io.BytesIO()
    pq.write_table(
        made,
        out,
        compression=_pick(rng, ("none", "snappy", "gzip", "zstd", "brotli", "lz4")),
        use_dictionary=bool(rng.integers(2)),
        row_group_size=_pick(rng, (1, 7, 10_000)),
        data_page_version=_pick(rng, ("1.0", "2.0")),
        store_schema=bool(rng.integers(2)),
        version=_pick(rng, ("1.0", "2.6")),
    )
    return out.getvalue()
