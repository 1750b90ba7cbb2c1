"""Limits against hostile NRRD files, Segmentations, multi-frame images and machine files, each beside a valid twin."""

from __future__ import annotations

import bz2
import gzip
import io
import struct
import sys
import zipfile
import zlib

import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

import dosecalc.dicom.seg as seg_module
import optimize.survey as survey_module
from dosecalc.dicom import read_rtdose as read_dose
from dosecalc.dicom import synthetic_series, write_ct_series, write_rtdose
from dosecalc.errors import InputError, UnsafeInputError, UsageError
from dosecalc.grid import Volume
from dosecalc.images import read_image
from dosecalc.machine_file import parse_kernel, parse_machine
from dosecalc.reading import read_ct, read_structures
from optimize.arrangements import MAX_BEAMS, parse_beams

from ..fuzz.seeds_dicom import DICOM
from .hostile_files import GRID, nrrd_bytes, phantom, seg_of

VOXELS = np.arange(12, dtype="<i2")
RAW = VOXELS.tobytes()


def nrrd_file(tmp_path, data=RAW, **fields):
    path = tmp_path / "ct.nrrd"
    path.write_bytes(nrrd_bytes(data, **fields))
    return path


@pytest.fixture
def seg(tmp_path):
    write_ct_series(tmp_path / "ct", phantom())
    return seg_of(tmp_path / "ct", tmp_path / "seg.dcm")


def edited(file, change):
    dataset = pydicom.dcmread(file)
    change(dataset)
    dataset.save_as(file)
    return file


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_nrrd_of_any_other_length_is_refused(tmp_path, encoding):
    data = RAW if encoding == "raw" else gzip.compress(RAW, mtime=0)
    grid, values = read_image(nrrd_file(tmp_path, data, encoding=encoding))
    np.testing.assert_array_equal(values.ravel(), VOXELS)
    assert grid.spacing_mm == (2.0, 3.0, 4.0)
    for other in (*(data[:n] for n in range(len(data))), data + b"\0\0", data[:4] + b"\1\1" + data[4:]):
        with pytest.raises(InputError):
            read_image(nrrd_file(tmp_path, other, encoding=encoding))
    for gone in range(1, 200):  # the header and its empty line
        whole = nrrd_bytes(data, encoding=encoding)
        (tmp_path / "ct.nrrd").write_bytes(whole[: len(whole) - len(data) - gone])
        with pytest.raises(InputError):
            read_image(tmp_path / "ct.nrrd")


def test_data_in_another_file_are_never_opened(tmp_path):
    outside, folder = tmp_path / "outside.raw", tmp_path / "scan"
    folder.mkdir()
    outside.write_bytes(RAW)
    read_image(nrrd_file(folder))
    opened = []
    sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
    for key in ("data file", "datafile"):
        for name in (str(outside), "../outside.raw", "LIST\n../outside.raw", "../%s.raw 1 1 1"):
            for data in (b"", RAW):
                with pytest.raises(InputError, match=r"in another file|not a readable"):
                    read_image(nrrd_file(folder, data, **{key: name}))
    assert str(folder / "ct.nrrd") in opened
    assert not [path for path in opened if "outside" in path]


@pytest.mark.parametrize(
    ("fields", "data", "message"),
    [
        ({"encoding": "bzip2"}, bz2.compress(RAW), "'bzip2', expected raw or gzip"),
        ({"endian": "middle"}, RAW, "not a readable NRRD"),
        ({"space units": '"m" "m" "m"'}, RAW, "expected mm"),
        ({"dimension": "4"}, RAW, "three dimensions"),
        ({"sizes": "-2 -2 3"}, RAW, "three dimensions"),
        ({"type": "block"}, RAW, "not a readable NRRD"),
        ({"byteskip": "-1"}, RAW, "behind an offset"),
        ({"space origin": "(nan,0,0)"}, RAW, "finite"),
    ],
)
def test_nrrd_headers_that_mislead_are_refused(tmp_path, fields, data, message):
    assert read_image(nrrd_file(tmp_path, **{"space units": '"mm" "mm" "mm"'}))[1].max() == 11
    with pytest.raises(InputError, match=message):
        read_image(nrrd_file(tmp_path, data, **fields))


def test_pixels_of_a_segmentation_are_as_many_as_it_says(seg):
    assert read_structures(seg)["Liver"].volume_cc == pytest.approx(27 * GRID.voxel_cc)
    for keyword, value, message in (
        ("Rows", 4, "bytes of pixels"),
        ("Rows", 0, "empty"),
        ("Columns", 8, "bytes of pixels"),
        ("TotalPixelMatrixRows", 5, "tiled"),
    ):
        dataset = pydicom.dcmread(seg)
        setattr(dataset, keyword, value)
        dataset.save_as(seg.with_name("bad.dcm"))
        with pytest.raises(InputError, match=message):
            read_structures(seg.with_name("bad.dcm"))


def test_frames_of_a_segment_without_a_name_are_refused(tmp_path):
    """They would be left out without a word."""
    DICOM["seg"].make(tmp_path)
    seg = tmp_path / "seg.dcm"
    assert read_structures(seg).names == ("Liver", "GTV")

    def change(dataset):
        for item in dataset.PerFrameFunctionalGroupsSequence[:1]:
            item.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 7

    with pytest.raises(InputError, match="1 segments without a name: 7"):
        read_structures(edited(seg, change))


def test_pixels_of_a_label_map_without_a_name_are_refused(tmp_path):
    DICOM["seg_label_map"].make(tmp_path)
    seg = tmp_path / "seg.dcm"
    assert [s.volume_cc for s in read_structures(seg)] == pytest.approx([11 * GRID.voxel_cc, GRID.voxel_cc])

    def change(dataset):
        dataset.PixelData = dataset.PixelData.replace(b"\2", b"\7")

    with pytest.raises(InputError, match="1 segments without a name: 7"):
        read_structures(edited(seg, change))


def test_segments_are_limited(seg, monkeypatch):
    monkeypatch.setattr(seg_module, "WORK_LIMIT", 3 * 5 * 7)
    read_structures(seg)
    monkeypatch.setattr(seg_module, "WORK_LIMIT", 3 * 5 * 7 - 1)
    with pytest.raises(UnsafeInputError, match="1 segments in 105 voxels"):
        read_structures(seg)


@pytest.mark.parametrize("frames", ["1", "-2", "999999999"])
def test_a_multi_frame_image_describes_each_of_its_frames(tmp_path, frames):
    """The frames are counted by their descriptions, which are there or not."""
    DICOM["ct_multi_frame"].make(tmp_path)
    file = tmp_path / "ct" / "all.dcm"
    assert read_ct(file).grid.shape[0] == 2
    image = pydicom.dcmread(file)
    image.NumberOfFrames = frames
    image.save_as(file)
    with pytest.raises(InputError, match=f"describes 2 of its {frames} frames"):
        read_ct(file)


def test_a_deflated_file_may_nest_no_deeper(tmp_path):
    """A thousand private sequences, which the deflation makes a few bytes of."""
    write_rtdose(tmp_path / "rd.dcm", Volume(GRID, np.ones(GRID.shape)), synthetic_series(phantom()))
    dataset = pydicom.dcmread(tmp_path / "rd.dcm")
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    for depth, error in ((20, None), (1000, UnsafeInputError)):
        head = b"\x09\x00\x10\x10SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
        tail = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
        file = tmp_path / f"{depth}.dcm"
        dataset.save_as(file)
        insert_deflated(file, head * depth + tail * depth)
        if error is None:
            assert read_dose(file).values.max() == pytest.approx(1.0)
        else:
            with pytest.raises(error, match="deep"):
                read_dose(file)


def test_what_follows_a_deflated_dataset_is_the_sum_of_gzip_or_nothing(tmp_path):
    write_rtdose(tmp_path / "rd.dcm", Volume(GRID, np.ones(GRID.shape)), synthetic_series(phantom()))
    dataset = pydicom.dcmread(tmp_path / "rd.dcm")
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(tmp_path / "rd.dcm")
    data = (tmp_path / "rd.dcm").read_bytes()
    inflater = zlib.decompressobj(-15)
    body = inflater.decompress(data[144 + int.from_bytes(data[140:144], "little") :])
    packed = data[: len(data) - len(inflater.unused_data)]
    good = packed + struct.pack("<II", zlib.crc32(body), len(body))
    (tmp_path / "rd.dcm").write_bytes(good)
    assert read_dose(tmp_path / "rd.dcm").values.max() == pytest.approx(1.0)
    (tmp_path / "rd.dcm").write_bytes(packed + struct.pack("<II", zlib.crc32(body) ^ 1, len(body)))
    with pytest.raises(InputError, match="cut short or damaged"):
        read_dose(tmp_path / "rd.dcm")


def insert_deflated(file, extra):
    """Bytes put behind group 0008 of a deflated file."""
    data = file.read_bytes()
    end = 144 + int.from_bytes(data[140:144], "little")
    body = zlib.decompress(data[end:], -15)
    place = body.index(b"\x10\x00\x10\x00")
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(body[:place] + extra + body[place:]) + packer.flush()
    file.write_bytes(data[:end] + packed + b"\0" * (len(packed) % 2))


def test_kernel_tables_may_not_claim_what_they_do_not_hold():
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"
    claim = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
    for damage in (claim, claim[:40], b"\x93NUMPY\x01\x00\x05\x00(\n" + b"'" * 3, b"\x93NUMPY\x03\x00\xff\xff\xff\xff"):
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as archive:
            for name in ("depth_mm", "radius_edges_mm", "primary", "scatter"):
                archive.writestr(f"{name}.npy", damage)
        with pytest.raises(InputError, match="not a kernel table"):
            parse_kernel(made.getvalue(), "kernel.npz")


def test_machine_files_are_toml_of_numbers():
    for text in ("a = " + "9" * 5000, "a = " + "[" * 20_000, "a = \x00"):
        with pytest.raises(InputError, match="not a TOML file"):
            parse_machine(text.encode(), "machine.toml")


@pytest.mark.parametrize(
    "text", ["9" * 5000, "\u00b2", "1_0:20", "0," * MAX_BEAMS + "0", "0:" * 10**6, "nan", "\ud800"]
)
def test_beam_strings_are_limited(text):
    assert len(parse_beams("0," * (MAX_BEAMS - 1) + "0")) == MAX_BEAMS
    with pytest.raises(UsageError) as refusal:
        parse_beams(text)
    assert len(str(refusal.value)) < 400


def test_a_survey_counts_its_files_and_tells_what_is_no_dicom(tmp_path, monkeypatch):
    write_ct_series(tmp_path / "ct", phantom())
    (tmp_path / "ct" / "CT_0002.dcm").write_bytes((tmp_path / "ct" / "CT_0002.dcm").read_bytes()[3:])
    monkeypatch.setattr(survey_module, "MOST_FILES", 4)
    problems = survey_module.survey(tmp_path)["problems"]
    assert any("CT_0002.dcm: is named as a DICOM file" in problem for problem in problems)
    monkeypatch.setattr(survey_module, "MOST_FILES", 3)
    with pytest.raises(UnsafeInputError, match="more than 3 files"):
        survey_module.survey(tmp_path)
