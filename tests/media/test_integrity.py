"""Damage in containers: what is lost is refused or flagged, what common muxers write is neither."""

from __future__ import annotations

import importlib.util
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from javisbench.media.integrity import (
    Damage,
    Integrity,
    Measured,
    Promised,
    avi,
    content,
    examine,
    matroska,
    mov,
    shortfalls,
)
from javisbench.media.integrity.report import OPEN_END


def _load_mutations() -> ModuleType:
    path = Path(__file__).parent / "mutations.py"
    spec = importlib.util.spec_from_file_location("javisbench_mutations", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


mutations = _load_mutations()
WALKS: dict[str, Callable[[Any], Integrity]] = {"mkv": matroska.examine, "webm": matroska.examine, "avi": avi.examine}


def walk(data: bytes, name: str) -> Integrity:
    return WALKS.get(name.rsplit(".")[-1], mov.examine)(data)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("bases")
    return {base.name: mutations.make(base, folder).read_bytes() for base in mutations.BASES}


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with mutations.Judge(tmp_path_factory.mktemp("judged")) as one:
        yield one


# good files


def test_nothing_is_said_of_what_common_muxers_write(bases: dict[str, bytes]) -> None:
    for name, data in bases.items():
        found = walk(data, name)
        assert not found.faults and found.doubts == ((OPEN_END,) if "live" in name else ()), (name, found)
        if "mpeg4" not in name and "faststart" not in name:  # MPEG-4 Part 2 may pack several frames into one payload
            assert found.promised.frames == mutations.FPS * mutations.SECONDS, name
        for seconds in (found.promised.picture_s, found.promised.sound_s):
            # Encoders' delays and padding, and AVI's empty slots at the start: within 0.1 s.
            assert seconds == pytest.approx(mutations.SECONDS, abs=0.1), name


def test_nothing_is_said_of_clips_in_the_repository(clips_fake: Path) -> None:
    videos = sorted(clips_fake.parent.rglob("*.mp4"))
    assert len(videos) > 20
    for path in videos:
        found = examine(path, "mov")
        assert not found.faults and not found.doubts, (path, found)


def test_large_files_are_read_through_a_window(
    bases: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, data in bases.items():
        path = tmp_path / name
        path.write_bytes(data)
        form = "matroska" if walk(data, name) == matroska.examine(data) else "avi" if name.endswith("avi") else "mov"
        whole = examine(path, form)
        with monkeypatch.context() as patch:
            patch.setattr(content, "_WHOLE_BYTES", 0)
            patch.setattr(content, "_WINDOW_BYTES", 1024)
            assert examine(path, form) == whole


# any damage


def test_no_loss_is_silent(bases: dict[str, bytes], judge: Any) -> None:
    """A few of each kind; `python -m tests.media.mutations` runs thousands."""
    originals: dict[str, Any] = {}
    for number, (base, kind, seed) in enumerate(mutations.rounds(len(bases) * len(mutations.MUTATIONS), 1)):
        if number % 5:
            continue
        data = bases[base.name]
        original = originals.setdefault(base.name, judge.see(data))
        assert original is not None and not any(damage.certain for damage in original.damage), (base, original)
        outcome = judge.judge(original, mutations.mutated(data, base.name, kind, seed))
        assert outcome != "SILENT LOSS", (base.name, kind, seed)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_content_makes_a_walk_raise(bases: dict[str, bytes], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(bases)))
    changed = bytearray(bases[name])
    start = max(0, changed.find(b"moov"))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(start, min(start + 2500, len(changed) - 8)))
        piece = data.draw(
            st.sampled_from([b"\xff", b"\0", b"\x7f", b"\xff" * 4, b"\xff" * 8, b"\0" * 4, b"\x7f\xff\xff\xff"])
        )
        changed[at : at + len(piece)] = piece
    cut = data.draw(st.none() | st.integers(1, len(changed)))
    walk(bytes(changed[:cut]), name)


@pytest.mark.parametrize(
    "head", [b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67", b"RIFF\xff\xff\xff\xffAVI ", b"\0\0\0\x08ftyp"]
)
@given(rest=st.binary(max_size=200))
def test_rubbish_after_a_magic_number_does_not_raise(head: bytes, rest: bytes) -> None:
    for examine_one in (matroska.examine, avi.examine, mov.examine):
        examine_one(head + rest)


# Matroska


def _clusters(data: bytes) -> list[tuple[int, int]]:
    return mutations.units(data, "x.mkv")


def _of_unknown_size(data: bytes) -> bytes:
    at = data.index(b"\x18\x53\x80\x67") + 4
    return data[:at] + b"\x01" + b"\xff" * 7 + data[at + 8 :]


def _without_indexes(data: bytes) -> bytes:
    """A recording made into a pipe: no size, no SeekHead, nothing after the clusters, no duration."""
    live = _of_unknown_size(data[: _clusters(data)[-1][1]])
    for ident, size in ((b"\x11\x4d\x9b\x74", None), (b"\x44\x89\x88", 8)):
        at = live.index(ident)
        if size is None:  # SeekHead becomes Void, of the same size
            width = 9 - live[at + 4].bit_length()
            size = int.from_bytes(live[at + 4 : at + 4 + width], "big") & ((1 << 7 * width) - 1)
            total = 4 + width + size
            live = live[:at] + b"\xec\x01" + (total - 9).to_bytes(7, "big") + live[at + 9 :]
    start = live.index(b"\x15\x49\xa9\x66")
    at = live.index(b"\x44\x89\x88", start)
    return live[:at] + b"\xec\x89" + bytes(9) + live[at + 11 :]


def test_a_cluster_that_is_missing_where_no_size_is_known(bases: dict[str, bytes]) -> None:
    live = _without_indexes(bases["plain.mkv"])
    assert not walk(live, "mkv").faults and walk(live, "mkv").doubts == (OPEN_END,)
    start, end = max(_clusters(live)[1:-1], key=lambda cluster: cluster[1] - cluster[0])
    found = walk(live[:start] + live[end:], "mkv")
    assert not found.faults
    (damage,) = found.doubts
    assert damage.message.startswith("nothing at all from ")
    lost = walk(live, "mkv").promised.frames - found.promised.frames
    assert damage.frames == pytest.approx(lost, abs=2) and damage.seconds == pytest.approx(lost / 24, abs=0.1)


def test_a_pause_of_one_track_alone_is_legal(encode: Any) -> None:
    times = [*range(12), *range(36, 48)]  # a picture that is held for one second
    path = encode("held.mkv", frames=24, times=times, sound="aac", seconds=2.0, muxer={"live": "1"})
    found = examine(path, "matroska")
    assert not found.faults and found.doubts == (OPEN_END,)


def test_a_live_recording_says_that_its_end_is_open_wherever_it_is_cut(bases: dict[str, bytes]) -> None:
    """Between two clusters nothing tells whether there were more."""
    data = _without_indexes(bases["plain.mkv"])
    for _, end in _clusters(data):
        found = walk(data[:end], "mkv")
        assert not found.faults and found.doubts == (OPEN_END,)
        assert not OPEN_END.certain and OPEN_END.frames == OPEN_END.seconds == 0


def test_fragments_without_any_index_or_duration_have_an_open_end(bases: dict[str, bytes]) -> None:
    data = bases["fragmented.mp4"].replace(b"Lavf", b"Else")
    whole = data[: data.index(b"mfra") - 4]
    cut = whole[: whole.rindex(b"moof") - 4]
    for live in (whole, cut):
        found = walk(live, "mp4")
        assert not found.faults and found.doubts == (OPEN_END,), found


def test_a_picture_held_in_a_finished_file_is_legal(encode: Any) -> None:
    found = examine(encode("held.mkv", frames=24, times=[*range(12), *range(36, 48)]), "matroska")
    assert not found.faults and not found.doubts


@pytest.mark.parametrize(("share", "faults"), [(0.5, 1), (0.0, 0)])
def test_a_segment_of_unknown_size_that_ends_early(bases: dict[str, bytes], share: float, faults: int) -> None:
    data = _of_unknown_size(bases["plain.mkv"])
    start, end = _clusters(data)[3]
    found = walk(data[: start + int((end - start) * share)], "mkv")
    assert len(found.faults) == faults
    if not faults:
        lost_s = mutations.SECONDS - found.promised.picture_s
        assert lost_s > 0.5 and any(damage.seconds == pytest.approx(lost_s, abs=0.1) for damage in found.doubts)


def test_bytes_between_clusters_are_counted(bases: dict[str, bytes]) -> None:
    data = bases["plain.mkv"]
    start, end = _clusters(data)[2]
    (fault,) = walk(data[:start] + bytes(end - start) + data[end:], "mkv").faults
    assert fault.position == start
    assert fault.message == f"{end - start:,} bytes that are no Matroska element at byte {start:,}"


def test_a_checksum_that_does_not_fit(bases: dict[str, bytes]) -> None:
    data = bytearray(bases["checked.mkv"])
    start, end = _clusters(bytes(data))[1]
    data[(start + end) // 2] ^= 1
    (fault,) = walk(bytes(data), "mkv").faults
    assert "checksum of the cluster" in fault.message and fault.position == start


def test_cues_that_point_elsewhere_are_flagged(bases: dict[str, bytes]) -> None:
    data = _of_unknown_size(bases["plain.mkv"])
    start, end = _clusters(data)[2]
    messages = " ".join(damage.message for damage in walk(data[:start] + data[end:], "mkv").doubts)
    assert "Cues point at no cluster" in messages and "where SeekHead has one" in messages


def _element(ident: str, content: bytes) -> bytes:
    return bytes.fromhex(ident) + (len(content) | 1 << 28).to_bytes(4, "big") + content


def _small_matroska(cluster: bytes, tags: bytes = b"", writer: bytes = b"w", track: bytes = b"") -> bytes:
    """One track of video (MJPEG) in one segment of known size."""
    info = _element("1549a966", _element("2ad7b1", b"\x0f\x42\x40") + _element("5741", writer))
    entry = _element("d7", b"\1") + _element("73c5", b"\7") + _element("83", b"\1") + _element("86", b"V_MJPEG") + track
    segment = info + _element("1654ae6b", _element("ae", entry)) + cluster + tags
    return _element("1a45dfa3", b"") + _element("18538067", segment)


def _cluster(*blocks: bytes, more: bytes = b"") -> bytes:
    return _element("1f43b675", _element("e7", b"\0") + more + b"".join(blocks))


def _block(time: int, content: bytes = b"\xff\xd8", flags: int = 0x80) -> bytes:
    return _element("a3", b"\x81" + struct.pack(">hB", time, flags) + content)


@pytest.mark.parametrize(
    ("flags", "content", "frames"),
    [
        (0x82, b"\2\xff\1\x03" + b"x" * 261, 3),  # Xiph: 256, 3 and 2
        (0x84, b"\2" + b"x" * 9, 3),  # of equal size
        (0x86, b"\2\x83\xc0" + b"x" * 12, 3),  # EBML: 3, 3 + 1, the rest
    ],
)
def test_laced_frames_are_counted(flags: int, content: bytes, frames: int) -> None:
    found = matroska.examine(_small_matroska(_cluster(_block(0, content, flags))))
    assert not found.faults and found.promised.frames == frames
    broken = matroska.examine(
        _small_matroska(_cluster(_block(0, content[:5] if flags != 0x84 else content[:-1], flags)))
    )
    assert "laced" in broken.faults[0].message


def test_statistics_count_only_where_they_were_written_with_the_file() -> None:
    def tag(name: bytes, value: bytes) -> bytes:
        return _element("67c8", _element("45a3", name) + _element("4487", value))

    def file(writer: bytes) -> bytes:
        values = tag(b"NUMBER_OF_FRAMES", b"4") + tag(b"_STATISTICS_WRITING_APP", b"mkvmerge")
        tags = _element("1254c367", _element("7373", _element("63c0", _element("63c5", b"\7")) + values))
        return _small_matroska(_cluster(_block(0), _block(40)), tags, writer)

    assert matroska.examine(file(b"mkvmerge")).promised.frames == 4
    assert matroska.examine(file(b"Lavf60")).promised.frames == 2


def test_previous_size_and_position_of_a_cluster() -> None:
    first = _cluster(_block(0))
    good = first + _cluster(_block(40), more=_element("ab", bytes([len(first)])))
    assert not matroska.examine(_small_matroska(good)).doubts
    wrong = first + _cluster(_block(40), more=_element("ab", b"\1") + _element("a7", b"\1"))
    assert len(matroska.examine(_small_matroska(wrong)).doubts) == 2


@pytest.mark.parametrize(
    ("cluster", "said"),
    [
        (_cluster(_element("a3", b"\x82\0\0\x80x")), "of no track"),
        (_cluster(_block(0, bytes(100))), "nothing but zeros"),
        (_cluster(_block(0), b"\xaa\x81x"), "no Matroska element"),
        (_element("1f43b675", _block(0)), "without content or time"),
    ],
)
def test_what_a_cluster_may_not_hold(cluster: bytes, said: str) -> None:
    (fault,) = matroska.examine(_small_matroska(cluster)).faults
    assert said in fault.message


@pytest.mark.parametrize("flipped", [0, 1])
def test_checksums_of_clusters(flipped: int) -> None:
    rest = _element("e7", b"\0") + _block(0)
    cluster = b"\xbf\x84" + struct.pack("<I", zlib.crc32(rest) ^ flipped) + rest
    faults = matroska.examine(_small_matroska(_element("1f43b675", cluster))).faults
    assert [("checksum" in fault.message) for fault in faults] == [True] * flipped


def test_hidden_pictures_do_not_count() -> None:
    track = _small_matroska(_cluster(_block(0, b"\x10abc"), _block(0, b"\x01abc"), _block(40, b"\x11abc")))
    track = track.replace(b"V_MJPEG", b"V_VP8\0\0")
    assert matroska.examine(track).promised.frames == 2


# MP4


def test_a_fragment_that_is_missing(bases: dict[str, bytes]) -> None:
    data = bases["fragmented.mp4"]
    start, end = mutations.units(data, "x.mp4")[4]
    (fault,) = walk(data[:start] + data[end:], "mp4").faults
    assert "follows fragment" in fault.message and "0.5" in fault.message
    start, _ = mutations.units(data, "x.mp4")[-2]
    found = walk(data[:start], "mp4")
    assert not found.faults and "index that FFmpeg writes" in found.doubts[0].message


def test_tables_that_disagree(bases: dict[str, bytes]) -> None:
    data = bytearray(bases["plain.mp4"])
    at = data.index(b"stsz") + 12
    count = int.from_bytes(data[at : at + 4], "big")
    data[at : at + 4] = (count - 3).to_bytes(4, "big")
    assert "disagree" in walk(bytes(data), "mp4").faults[0].message
    data[at : at + 4] = (2**32 - 1).to_bytes(4, "big")
    assert "room for" in walk(bytes(data), "mp4").faults[0].message


def test_media_data_that_is_zero(bases: dict[str, bytes]) -> None:
    data = bases["plain.mp4"]
    middle = data.index(b"mdat") + 20_000
    (fault,) = walk(data[:middle] + bytes(20_000) + data[middle + 20_000 :], "mp4").faults
    assert "data at byte" in fault.message and fault.kind in ("decode_error", "bad_audio")


def test_chunks_outside_of_the_media_data(bases: dict[str, bytes]) -> None:
    data = bytearray(bases["plain.mp4"])
    at = data.index(b"stco") + 12
    data[at : at + 4] = (1).to_bytes(4, "big")
    assert "outside" in walk(bytes(data), "mp4").faults[0].message
    data[at : at + 4] = (2**31).to_bytes(4, "big")
    assert "cut off" in walk(bytes(data), "mp4").faults[0].message


def test_a_track_whose_name_is_damaged(bases: dict[str, bytes]) -> None:
    data = bases["plain.mp4"]
    for name in (b"trak", b"soun"):
        at = data.rindex(name)
        assert walk(data[:at] + b"xxxx" + data[at + 4 :], "mp4").faults, name


def test_frames_that_an_edit_list_hides_are_not_promised(encode: Any) -> None:
    data = bytearray(encode("clip.mp4", frames=24, options={"bf": "0"}).read_bytes())
    at = data.index(b"elst") + 12
    duration, start, rate = struct.unpack(">IiI", data[at : at + 12])
    assert (start, rate) == (0, 0x10000)
    data[at : at + 8] = struct.pack(">Ii", duration // 2, 12 * 512)
    promised = mov.examine(bytes(data)).promised
    assert promised.frames == 12 and promised.picture_s == pytest.approx(0.5)


def test_a_picture_far_from_its_place(bases: dict[str, bytes]) -> None:
    data = bytearray(bases["plain.mp4"])
    at = data.index(b"ctts") + 12 + 4 + 8  # the second row's shift
    data[at : at + 4] = (int.from_bytes(data[at : at + 4], "big") + 12_288).to_bytes(4, "big")
    assert any("do not belong" in damage.message for damage in mov.examine(bytes(data)).doubts)


# AVI


def test_a_chunk_that_is_missing(bases: dict[str, bytes]) -> None:
    data = bases["mjpeg.avi"]
    start, end = next(unit for unit in mutations.units(data, "x.avi")[20:] if data[unit[0] + 2 : unit[0] + 4] == b"dc")
    gone = end - start
    data = bytearray(data[:start] + data[end:])
    movi = data.index(b"movi") - 4
    for at in (4, movi):  # sizes as they would be without it
        data[at : at + 4] = (int.from_bytes(data[at : at + 4], "little") - gone).to_bytes(4, "little")
    found = avi.examine(bytes(data))
    assert not found.faults and any("that the index names" in damage.message for damage in found.doubts)


def test_rubbish_between_chunks(bases: dict[str, bytes]) -> None:
    data = bases["mpeg4.avi"]
    start, end = mutations.units(data, "x.avi")[10]
    (fault,) = avi.examine(data[:start] + b"\xaa" * (end - start) + data[end:]).faults
    assert fault.message == f"{end - start:,} bytes that are no AVI chunk at byte {start:,}"


def test_rates_that_differ(bases: dict[str, bytes]) -> None:
    data = bytearray(bases["mpeg4.avi"])
    at = data.index(b"strh") + 28
    data[at : at + 4] = (2 * struct.unpack("<I", data[at : at + 4])[0]).to_bytes(4, "little")
    assert any("by the header" in damage.message for damage in avi.examine(bytes(data)).doubts)


# what decoding gave


def _measured(frames: int, sound_s: float | None = None, fps: float = 24.0) -> Measured:
    return Measured(np.arange(frames) / fps, 1 / fps, () if sound_s is None else ((0.0, sound_s),), fps)


@given(st.integers(1, 500), st.integers(0, 20))
def test_frames_that_did_not_come_out_are_counted(there: int, lost: int) -> None:
    found = shortfalls(Integrity(promised=Promised(frames=there + lost, frame_s=1 / 24)), _measured(there))
    assert [damage.frames for damage in found] == ([lost] if lost else [])


@given(st.floats(0.5, 20), st.floats(0, 5))
def test_sound_that_did_not_come_out_is_told_beyond_a_packet(there_s: float, lost_s: float) -> None:
    promised = Promised(sound_s=there_s + lost_s, packet_s=0.02)
    found = shortfalls(Integrity(promised=promised), _measured(24, there_s))
    if lost_s < 0.05:
        assert not found
    elif lost_s > 0.1:
        assert found[0].seconds == pytest.approx(lost_s, abs=0.001)


def test_gaps_in_the_sound_are_no_loss() -> None:
    promised = Promised(frames=48, sound_s=2.0, packet_s=0.02)
    measured = Measured(np.arange(48) / 24, 1 / 24, ((0.0, 0.5), (1.5, 2.0)), 24.0)
    assert shortfalls(Integrity(promised=promised), measured) == ()


def test_doubts_are_handed_on() -> None:
    doubt = Damage("something", 1, 0.5)
    assert shortfalls(Integrity(doubts=(doubt,)), _measured(24)) == (doubt,)
