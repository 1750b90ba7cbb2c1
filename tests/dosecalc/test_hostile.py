"""Limits against hostile files, each beside a valid twin that is read; time and memory in a process of its own."""

from __future__ import annotations

import gzip
import json
import os
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

import dosecalc.dicom.files as dicom_files
import dosecalc.dicom.rtstruct as rtstruct
import dosecalc.label_maps as label_maps
from dosecalc.dicom import read_ct_series, read_rtdose, read_rtstruct, synthetic_series, write_ct_series, write_rtstruct
from dosecalc.dicom import write_rtdose as save_rtdose
from dosecalc.errors import DosecalcError, InputError, UnsafeInputError
from dosecalc.grid import Grid, Volume
from dosecalc.names import match, read_table
from dosecalc.reading import read_ct, read_structures
from dosecalc.structures import Contours, Occupancy, Structure, StructureSet

from .dicom_files import compress_with_gdcm
from .hostile_files import GRID, nrrd_bytes, phantom, seg_of

SECONDS, MEMORY_MIB = 10, 300
READ = """
import os, sys, time
from pathlib import Path
from dosecalc.dicom import read_rtdose, read_rtstruct
from dosecalc.errors import DosecalcError
from dosecalc.reading import read_ct, read_structures
import highdicom, nibabel, nrrd, scipy.ndimage, shapely
reads = {"ct": read_ct, "dose": read_rtdose, "structures": read_rtstruct, "seg": read_structures,
         "repaired": lambda path: read_rtstruct(path, repair=["Liver"]),
         "labels": lambda path: read_structures(path, {str(k): f"L{k}" for k in range(1, 501)})}
def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
def judge(kind, path):
    before, start = peak(), time.monotonic()
    try:
        reads[kind](path)
        verdict = "read"
    except DosecalcError as error:
        verdict = type(error).__name__
    print(verdict, time.monotonic() - start, peak() - before, flush=True)
for kind, path in zip(sys.argv[1::2], sys.argv[2::2]):
    child = os.fork()  # a peak of its own, without importing everything again
    if not child:
        try:
            judge(kind, path)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
"""


def organ(name="Liver", role="ORGAN"):
    box = np.array([[-20, -10], [-16, -10], [-16, -6], [-20, -6]], float)
    return Structure(name, role, Contours((103.0, 106.0), (box, box)))


@pytest.fixture
def ct(tmp_path):
    write_ct_series(tmp_path / "ct", phantom())
    return tmp_path / "ct"


@pytest.fixture
def structures(tmp_path):
    write_rtstruct(tmp_path / "rs.dcm", StructureSet((organ(), organ("GTV", "GTV"))), synthetic_series(phantom()))
    return tmp_path / "rs.dcm"


@pytest.fixture
def dose(tmp_path):
    values = np.arange(GRID.size, dtype=float).reshape(GRID.shape)
    save_rtdose(tmp_path / "rd.dcm", Volume(GRID, values), synthetic_series(phantom()))
    return tmp_path / "rd.dcm"


@pytest.fixture
def labels(tmp_path):
    data = np.zeros((6, 5, 4), np.uint8)
    data[1:3, 2:4, 1:] = 1
    return save_nifti(tmp_path / "labels.nii", data)


def save_nifti(path, data):
    image = nibabel.Nifti1Image(data, np.diag([2.0, 3.0, 4.0, 1.0]))
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)
    return path


def edited(file, change, **options):
    dataset = pydicom.dcmread(file)
    change(dataset)
    dataset.save_as(file, **options)
    return file


def measured(*kinds_and_paths):
    """Verdict, seconds and MiB of reading, each in a process of its own."""
    command = [sys.executable, "-c", READ, *map(str, kinds_and_paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    rows = [line.split() for line in done.stdout.splitlines()]
    return [(verdict, float(seconds), float(mib)) for verdict, seconds, mib in rows]


# time and memory


def nested(depth, *, explicit, defined):
    """Referenced Image Sequence inside itself."""
    head = b"\x08\x00\x40\x11" + (b"SQ\0\0" if explicit else b"")
    if not defined:
        opening = head + b"\xff" * 4 + b"\xfe\xff\x00\xe0" + b"\xff" * 4
        return opening * depth + (b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0") * depth
    out, size = [], 0
    for _ in range(depth):
        out.append(head + struct.pack("<I", size + 8) + b"\xfe\xff\x00\xe0" + struct.pack("<I", size))
        size += len(head) + 12
    return b"".join(reversed(out))


def before_patient(file, extra):
    """Bytes put in front of the patient group, where their tag belongs."""
    data = file.read_bytes()
    place = data.index(b"\x10\x00\x10\x00", 400)
    file.write_bytes(data[:place] + extra + data[place:])
    return file


@pytest.mark.parametrize("defined", [True, False])
@pytest.mark.parametrize("explicit", [True, False])
@pytest.mark.parametrize(("depth", "verdict"), [(5, "read"), (1000, "UnsafeInputError"), (100_000, "UnsafeInputError")])
def test_nested_sequences_end_soon(dose, structures, explicit, defined, depth, verdict):
    """The dose is explicit, the structure set implicit; 1000 levels are 20 to 36 kB."""
    file = before_patient(dose if explicit else structures, nested(depth, explicit=explicit, defined=defined))
    start = time.monotonic()
    try:
        (read_rtdose if explicit else read_rtstruct)(file)
        found = "read"
    except DosecalcError as error:
        found = type(error).__name__
        assert "deep" in str(error)
        assert file.name in str(error)
    assert found == verdict
    assert time.monotonic() - start < SECONDS


def bomb_deflated(tmp_path, ct):
    image = pydicom.dcmread(ct / "CT_0001.dcm")
    image.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    image.PixelData = bytes(2**27)
    image.save_as(ct / "CT_0001.dcm")
    return "ct", ct


def bomb_gzip(tmp_path, ct):
    """A header that says 4 GB, and a file that begins to inflate to it."""
    small = save_nifti(tmp_path / "small.nii", np.zeros((4, 4, 4), np.float64)).read_bytes()
    header = bytearray(small[:352])
    header[42:48] = np.array([800, 800, 800], "<i2").tobytes()
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    block = bytes(2**20)
    parts = [packer.compress(bytes(header)), *(packer.compress(block) for _ in range(64))]
    (tmp_path / "bomb.nii.gz").write_bytes(b"".join(parts) + packer.flush())
    return "ct", tmp_path / "bomb.nii.gz"


def bomb_extension(tmp_path, ct):
    """Voxels that start behind 64 MiB of zeros."""
    raw = bytearray(save_nifti(tmp_path / "small.nii", np.zeros((4, 4, 4), np.int16)).read_bytes())
    struct.pack_into("<f", raw, 108, 352.0 + 2**26)
    with gzip.open(tmp_path / "bomb.nii.gz", "wb", compresslevel=1) as file:
        file.write(raw[:352] + bytes(2**26) + raw[352:])
    return "ct", tmp_path / "bomb.nii.gz"


def claim_plain(tmp_path, ct):
    for file in ct.iterdir():
        edited(file, lambda image: setattr(image, "Rows", 65535) or setattr(image, "Columns", 65535))
    return "ct", ct


def claim_run_length(tmp_path, ct):
    for file in ct.iterdir():
        edited(file, lambda image: image.compress(pydicom.uid.RLELossless))
    return claim_plain(tmp_path, ct)


def claim_nifti(tmp_path, ct):
    raw = bytearray(save_nifti(tmp_path / "a.nii", np.zeros((4, 4, 4), np.int16)).read_bytes())
    raw[42:48] = np.array([1000, 1000, 1000], "<i2").tobytes()
    (tmp_path / "a.nii").write_bytes(raw)
    return "ct", tmp_path / "a.nii"


def scattered_labels(tmp_path, ct):
    """Every label in two opposite corners: each box would be the whole map."""
    data = np.zeros((100, 100, 100), np.uint16)
    data.ravel()[:500] = data.ravel()[:-501:-1] = np.arange(1, 501)
    path = save_nifti(tmp_path / "scattered.nii", data)
    return "labels", path


def crossing_contour(tmp_path, ct):
    """Three hundred random points, 8 kB: what they enclose takes half a minute to find out."""
    points = np.random.default_rng(0).uniform(-100, 100, (300, 2))
    file = tmp_path / "rs.dcm"
    write_rtstruct(file, StructureSet((organ(),)), synthetic_series(phantom()))

    def change(dataset):
        contour = dataset.ROIContourSequence[0].ContourSequence[0]
        contour.NumberOfContourPoints = len(points)
        contour.ContourData = [f"{v:.6g}" for x, y in points for v in (x, y, 103.0)]

    return "structures", edited(file, change)


def endless_integer(tmp_path, ct):
    file = tmp_path / "rd.dcm"
    save_rtdose(file, Volume(GRID, np.ones(GRID.shape)), synthetic_series(phantom()))
    data = file.read_bytes()
    old = b"\x28\x00\x08\x00IS\x02\x004 "
    assert old in data
    file.write_bytes(data.replace(old, b"\x28\x00\x08\x00IS\x0c\x001e999999999 "))
    return "dose", file


def repaired_contour(tmp_path, ct):
    _, path = crossing_contour(tmp_path, ct)
    return "repaired", path


def bomb_nrrd(tmp_path, ct):
    """A header that says 6 GB, and a stream that begins to inflate to it."""
    fields = {"type": "double", "sizes": "900 900 900", "encoding": "gzip"}
    path = tmp_path / "bomb.nrrd"
    path.write_bytes(nrrd_bytes(gzip.compress(bytes(2**26), 1), **fields))
    return "ct", path


def claim_nrrd(tmp_path, ct):
    path = tmp_path / "claim.nrrd"
    path.write_bytes(nrrd_bytes(bytes(24), sizes="900 900 900"))
    return "ct", path


def endless_nrrd(tmp_path, ct):
    path = tmp_path / "endless.nrrd"
    path.write_bytes(b"NRRD0005\n" + b"# and so on\n" * 2**18)
    return "ct", path


def distant_planes(tmp_path, ct):
    """Three small planes, two of them a micrometre apart and the third a kilometre away."""
    path = seg_of(ct, tmp_path / "seg.dcm")

    def change(dataset):
        for item, z in zip(dataset.PerFrameFunctionalGroupsSequence, (0.0, 1e-3, 1e6), strict=False):
            item.PlanePositionSequence[0].ImagePositionPatient[2] = z
        del dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices

    return "seg", edited(path, change)


def claim_seg(tmp_path, ct):
    path = seg_of(ct, tmp_path / "seg.dcm")
    return "seg", edited(path, lambda d: setattr(d, "Rows", 65535) or setattr(d, "Columns", 65535))


BOMBS = {
    bomb_deflated: "UnsafeInputError",
    bomb_gzip: "UnsafeInputError",
    bomb_extension: "UnsafeInputError",
    bomb_nrrd: "UnsafeInputError",
    claim_plain: "UnsafeInputError",
    claim_run_length: "UnsafeInputError",
    claim_nifti: "InputError",
    claim_nrrd: "InputError",
    claim_seg: "UnsafeInputError",
    distant_planes: "UnsafeInputError",
    endless_nrrd: "UnsafeInputError",
    scattered_labels: "UnsafeInputError",
    crossing_contour: "UnsafeInputError",
    repaired_contour: "UnsafeInputError",
    endless_integer: "InputError",
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from proc")
def test_bombs_are_refused_in_time_and_memory(tmp_path):
    made = []
    for make in BOMBS:
        folder = tmp_path / make.__name__
        write_ct_series(folder / "ct", phantom())
        made.append(make(folder, folder / "ct"))
    rows = measured(*(value for pair in made for value in pair))
    for make, (_, path), (verdict, seconds, mib) in zip(BOMBS, made, rows, strict=True):
        files = [path] if path.is_file() else list(path.iterdir())
        assert (make.__name__, verdict) == (make.__name__, BOMBS[make])
        assert seconds < SECONDS, make.__name__
        assert mib < MEMORY_MIB + 4 * sum(file.stat().st_size for file in files) / 2**20, make.__name__


def test_honest_twins_are_read(tmp_path, ct, structures, dose, labels):
    np.testing.assert_array_equal(read_ct(ct).values, phantom().values)
    for file in ct.iterdir():
        edited(file, lambda image: image.compress(pydicom.uid.RLELossless))
    np.testing.assert_array_equal(read_ct(ct).values, phantom().values)
    assert read_rtstruct(structures).names == ("Liver", "GTV")
    assert read_rtdose(dose).values.max() == pytest.approx(GRID.size - 1)
    assert read_structures(labels, {"1": "Liver"}).names == ("Liver",)
    # nothing but background and one voxel
    data = np.zeros((200, 200, 200), np.uint8)
    data[3, 4, 5] = 1
    path = save_nifti(tmp_path / "sparse.nii.gz", data)
    assert path.stat().st_size * 200 < data.nbytes
    assert read_structures(path, {"1": "Liver"}).names == ("Liver",)


@pytest.mark.parametrize(
    ("syntax", "marker", "sizes", "form"),
    [
        ("JPEGLosslessProcess14_1", b"\xff\xc3", (5,), ">HH"),
        ("JPEGLSLossless", b"\xff\xf7", (5,), ">HH"),
        ("JPEG2000Lossless", b"\xff\x4f\xff\x51", (8, 24), ">II"),
    ],
)
def test_compressed_images_may_not_claim_another_size(tmp_path, syntax, marker, sizes, form):
    """The claim is in the compressed stream: decoders make room for it, or end the process."""
    ct, values = tmp_path / "ct", np.arange(3 * 9 * 13, dtype=np.float32).reshape(3, 9, 13)
    write_ct_series(ct, Volume(Grid((0, 0, 0), (1.5, 2.5, 3.0), values.shape), values))
    compress_with_gdcm(ct, syntax)
    np.testing.assert_array_equal(read_ct(ct).values, values)
    data = bytearray((ct / "CT_0002.dcm").read_bytes())
    place = data.rindex(marker)
    for offset in sizes:
        struct.pack_into(form, data, place + offset, 60_000, 60_000)
    (ct / "CT_0002.dcm").write_bytes(data)
    with pytest.raises(InputError, match=r"compressed image of \(60000, 60000\) pixels"):
        read_ct(ct)


# size and number


@pytest.mark.parametrize("suffix", [".dcm", ".nii"])
def test_files_beyond_four_gibibytes_are_not_opened(tmp_path, dose, labels, suffix):
    file = dose if suffix == ".dcm" else labels
    os.truncate(file, 2**32 + 1)  # sparse: takes no room
    with pytest.raises(UnsafeInputError, match="4 are read"):
        read_rtdose(file) if suffix == ".dcm" else read_ct(file)


@pytest.mark.parametrize(
    ("module", "limit", "enough", "what"),
    [
        (dicom_files, "FOLDER_LIMIT", 4, "holds 4 files, at most 3"),
        (rtstruct, "ROI_LIMIT", 2, "more than 1 ROIs"),
        (rtstruct, "CONTOUR_LIMIT", 4, "more than 3 contours"),
        (rtstruct, "POINT_LIMIT", 16, "more than 15 points"),
        (dicom_files, "FILE_LIMIT", 10_000, "GiB, at most"),
    ],
)
def test_counts_are_limited(monkeypatch, ct, structures, module, limit, enough, what):
    def read():
        return read_ct(ct) if limit == "FOLDER_LIMIT" else read_rtstruct(structures)

    monkeypatch.setattr(module, limit, enough)
    read()
    monkeypatch.setattr(module, limit, 1000 if limit == "FILE_LIMIT" else enough - 1)
    with pytest.raises(UnsafeInputError, match=what):
        read()


def test_labels_are_limited(monkeypatch, tmp_path, labels):
    monkeypatch.setattr(label_maps, "BOX_ALLOWANCE", 0)
    monkeypatch.setattr(label_maps, "BOX_RATIO", 0.11)  # 12 of 120 voxels lie in the box
    read_structures(labels, {"1": "Liver"})
    monkeypatch.setattr(label_maps, "BOX_RATIO", 0.09)
    with pytest.raises(UnsafeInputError, match="1 labels with 12 voxels in their boxes"):
        read_structures(labels, {"1": "Liver"})


def test_label_names_are_limited(tmp_path, labels):
    names = tmp_path / "names.json"
    names.write_text(json.dumps({"1": "Liver"}) + " " * 2**19)
    assert read_structures(labels, names).names == ("Liver",)
    names.write_text(json.dumps({"1": "Liver"}) + " " * 2**20)
    with pytest.raises(UnsafeInputError, match="more than 1 MiB"):
        read_structures(labels, names)
    for text in ('{"%s": "Liver"}' % ("1" * 5000), '{"1": {"name": 7}}', '{"1": "Liver", "2": 1e999}'):
        names.write_text(text)
        with pytest.raises(InputError, match="not a label with its name"):
            read_structures(labels, names)


def test_alias_tables_are_limited(tmp_path):
    path = tmp_path / "aliases.toml"
    path.write_text('[Liver]\naliases = ["Foie"]\n')
    assert "Foie" in read_table(path)["Liver"].aliases
    path.write_text("a = " + "[" * 20_000)
    with pytest.raises(InputError, match="cannot be read as TOML"):
        read_table(path)
    path.write_text("# \n" * 2**17)
    with pytest.raises(UnsafeInputError, match="KiB of names"):
        read_table(path)


def test_parts_that_lead_back_are_followed_once(tmp_path):
    """A circle, and two parts of each of forty parts: 2 ** 40 ways to the last."""
    path = tmp_path / "aliases.toml"
    lines = [f'["A{k}"]\nparts = ["A{k + 1}", "B{k + 1}"]\n["B{k}"]\nparts = ["A{k + 1}", "A0"]\n' for k in range(40)]
    path.write_text("".join(lines) + '["A40"]\nparts = ["Spot", "spot", "A1"]\n')
    found = match(StructureSet((organ("Spot"),)), ("A0",), GRID, table=read_table(path))
    assert found.joined == (("A0", ("Spot",)),)
    assert found.structures["A0"].volume_cc == pytest.approx(organ().volume_cc)


# structure


def element(file, tag):
    """Bytes of one top-level element of an explicit file."""
    data = file.read_bytes()
    at = data.index(tag, 300)
    return data, at, at + 8 + struct.unpack_from("<H", data, at + 6)[0]


def test_an_element_given_twice_is_refused(dose):
    before = read_rtdose(dose)
    data, start, end = element(dose, b"\x28\x00\x30\x00DS")  # PixelSpacing
    again = data[start:end].replace(b"2.5", b"9.5")
    dose.write_bytes(data[:end] + again + data[end:])
    with pytest.raises(InputError, match=r"\(0028,0030\) is repeated or out of order"):
        read_rtdose(dose)
    dose.write_bytes(data)
    assert read_rtdose(dose).grid == before.grid


def test_an_element_out_of_order_is_refused(dose):
    data, start, end = element(dose, b"\x28\x00\x30\x00DS")
    dose.write_bytes(data[:start] + data[end : end + 10] + data[start:end] + data[end + 10 :])
    with pytest.raises(InputError, match="out of order"):
        read_rtdose(dose)


def test_an_element_that_swallows_its_neighbour_is_refused(dose):
    """The frame of reference takes in the element behind it; the file is of one piece all the same."""
    data, start, end = element(dose, b"\x20\x00\x52\x00UI")
    _, _, behind = element(dose, data[end : end + 6])
    swallowed = bytearray(data)
    struct.pack_into("<H", swallowed, start + 6, behind - start - 8)
    dose.write_bytes(swallowed)
    with pytest.raises(InputError, match="characters that UI does not allow"):
        read_rtdose(dose)


def test_damage_inside_a_sequence_of_defined_length_is_found(structures):
    """The outer lengths are right; pydicom would leave out what lies behind the wrong one."""
    data = structures.read_bytes()
    at = data.rindex(struct.pack("<HH", 0x3006, 0x0046))  # NumberOfContourPoints, of the last contour
    for length in (0, 4, 200):
        structures.write_bytes(data[: at + 4] + struct.pack("<I", length) + data[at + 8 :])
        with pytest.raises(InputError):
            read_rtstruct(structures)
    structures.write_bytes(data)
    assert read_rtstruct(structures).names == ("Liver", "GTV")


def test_a_last_slice_cut_before_its_modality_is_not_left_out(ct):
    """The cut lies between two elements; the series was once read without the slice and without a word."""
    last = ct / "CT_0004.dcm"
    whole = last.read_bytes()
    place = whole.index(b"\x08\x00\x60\x00CS")
    last.write_bytes(whole[:place])
    with pytest.raises(InputError, match="Modality is None"):
        read_ct(ct)
    last.write_bytes(whole.replace(b"\x08\x00\x60\x00CS\x02\x00CT", b"\x08\x00\x60\x00CS\x02\x00CU"))
    with pytest.raises(InputError, match="Modality is 'CU'"):
        read_ct(ct)
    last.write_bytes(whole)
    assert read_ct(ct).grid == GRID


def test_inserted_and_removed_voxels_are_noticed(tmp_path):
    path = save_nifti(tmp_path / "a.nii", np.arange(120, dtype=np.int16).reshape(6, 5, 4))
    whole = path.read_bytes()
    assert read_ct(path).values.max() == 119
    for damaged in (whole + b"\0\0", whole[:400] + b"\1\1" + whole[400:], whole[:-2]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="its header says"):
            read_ct(path)


def test_damaged_compressed_voxels_are_noticed(tmp_path):
    """The sum that gzip keeps is behind the voxels: it is read too."""
    noise = np.random.default_rng(1).integers(0, 30000, (6, 5, 4)).astype(np.int16)
    path = save_nifti(tmp_path / "a.nii.gz", noise)
    whole = path.read_bytes()
    expected = read_ct(path).values
    start = whole.index(b"\0", 10) + 1 if whole[3] & 8 else 10  # behind the name that gzip may keep
    for at in range(start, len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        try:
            values = read_ct(path).values
        except InputError:
            continue
        np.testing.assert_array_equal(values, expected)  # another way to say the same


def test_types_that_are_gone_are_told(structures):
    """A file cut behind its contours is whole but for its end."""
    assert read_rtstruct(structures).notices == ()

    def change(dataset):
        del dataset.RTROIObservationsSequence

    assert "roles are taken from the names" in read_rtstruct(edited(structures, change)).notices[0]


def _spacing_under_another_type(dataset):
    del dataset.PixelSpacing
    dataset.add_new("PixelSpacing", "FL", [2.5, 1.5])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: setattr(d, "DoseGridScaling", "-1"), "DoseGridScaling is -1"),
        (lambda d: setattr(d, "DoseGridScaling", "1e300"), "DoseGridScaling is 1e"),
        (lambda d: setattr(d, "DoseGridScaling", "nan"), "DoseGridScaling is"),
        (_spacing_under_another_type, "PixelSpacing has value representation FL"),
    ],
)
def test_impossible_doses_are_refused(dose, change, message):
    with pytest.raises(InputError, match=message):
        read_rtdose(edited(dose, change))


@pytest.mark.parametrize(
    ("slope", "message"), [("1e308", "HU"), ("1e30", "HU"), ("nan", "RescaleSlope"), ("1_0", "does not allow")]
)
def test_impossible_hu_are_refused(ct, slope, message):
    file = ct / "CT_0002.dcm"
    data = file.read_bytes()
    old = b"\x28\x00\x53\x10DS\x04\x001.0 "
    if old not in data:
        old = b"\x28\x00\x53\x10DS\x02\x001 "
    value = slope.encode() + b" " * (len(slope) % 2)
    file.write_bytes(data.replace(old, b"\x28\x00\x53\x10DS" + struct.pack("<H", len(value)) + value))
    with pytest.raises(InputError, match=message):
        read_ct(ct)


def test_values_beyond_single_precision_are_refused(tmp_path):
    data = np.zeros((4, 4, 4))
    assert read_ct(save_nifti(tmp_path / "a.nii", data)).values.max() == 0
    data[1, 2, 3] = 1e300
    with pytest.raises(InputError, match="1 voxels are not finite"):
        read_ct(save_nifti(tmp_path / "a.nii", data))
    rgb = np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    with pytest.raises(InputError, match="expected numbers"):
        read_ct(save_nifti(tmp_path / "a.nii", rgb))


def test_a_text_of_two_values_is_no_name(structures):
    def change(dataset):
        dataset.StructureSetROISequence[0].ROIName = ["Liver", "Spleen"]

    with pytest.raises(InputError, match="without backslash"):
        read_rtstruct(edited(structures, change))


# names


HOSTILE = ("../../x", "/x", "<img onerror=x>", "{{7*7}}", "..", "CON", "a" * 64, "$(touch x)", "%s%n")


def test_no_path_is_built_from_a_name_or_a_uid(tmp_path, ct):
    """Read and written again: the folder holds what was asked for and nothing else."""
    for file in ct.iterdir():
        for keyword in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName"):
            edited(file, lambda image, k=keyword: setattr(image, k, "../../x"))
    series = read_ct_series(ct)
    assert series.series_instance_uid == "../../x"
    half = np.zeros(GRID.shape, np.float32)
    half[1:3, 1:3, 1:3] = 1
    drawn = [organ(name) for name in HOSTILE] + [Structure("../y", "GTV", Occupancy(GRID, half))]
    before = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*"))
    above = sorted(tmp_path.parent.iterdir())
    write_rtstruct(tmp_path / "rs.dcm", StructureSet(tuple(drawn), series.frame_of_reference_uid), series)
    save_rtdose(tmp_path / "rd.dcm", Volume(GRID, half), series)
    assert read_structures(tmp_path / "rs.dcm", ct=series).names == (*HOSTILE, "../y")
    read_rtdose(tmp_path / "rd.dcm", frame_of_reference_uid="../../x")
    after = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*"))
    assert after == sorted([*before, Path("rs.dcm"), Path("rd.dcm")])
    assert sorted(tmp_path.parent.iterdir()) == above
