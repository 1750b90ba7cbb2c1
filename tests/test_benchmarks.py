"""What the benchmarks are read by: growth exponents, records, tables, memory and the profile of the demonstration."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import gpu_table, memory, profile_demo, tables
from benchmarks.growth import Point, exponents
from benchmarks.records import command_line, read_record, slim

ROOT = Path(__file__).resolve().parents[1]
RECORDS = sorted((ROOT / "benchmarks" / "records").glob("*.json"))
README = (ROOT / "README.md").read_text(encoding="utf-8")


def powers(noise: float = 0.0) -> list[Point]:
    """Time proportional to voxels^1.05 beamlets^0.5 beams^0.9."""
    rng = np.random.default_rng(0)
    cases = product((8_000, 64_000), (20.0, 80.0), (1, 3, 9))
    return [Point(v, b, n, 1e-6 * v**1.05 * b**0.5 * n**0.9 * np.exp(noise * rng.normal())) for v, b, n in cases]


def test_exponents_of_a_power_law_are_found():
    found = exponents(powers())
    assert [each.quantity for each in found] == ["voxels", "beamlets per beam", "beams"]
    np.testing.assert_allclose([each.value for each in found], [1.05, 0.5, 0.9], atol=1e-9)
    assert max(each.error for each in found) < 1e-9


def test_exponents_state_an_error_that_covers_the_noise():
    for found, true in zip(exponents(powers(0.05)), (1.05, 0.5, 0.9), strict=True):
        assert 0.005 < found.error < 0.05
        assert abs(found.value - true) < 3 * found.error


def test_cases_that_vary_in_one_quantity_only_are_refused():
    alike = [dataclasses.replace(point, beams=1) for point in powers()]
    with pytest.raises(ValueError, match="do not determine"):
        exponents(alike)


def test_an_array_counts_once_with_the_size_of_its_owner():
    @dataclass(frozen=True, slots=True)
    class Held:
        values: np.ndarray
        parts: tuple[Any, ...]

    owner = np.zeros((100, 10), np.float32)
    held = Held(owner[5:], (owner, owner.T, {"more": np.zeros(3, np.int64)}, "text"))
    assert memory.array_bytes(held) == 4000 + 24


def written(stats: float) -> dict[str, Any]:
    """The JSON of pytest-benchmark, one benchmark."""
    names = ("min", "max", "mean", "stddev", "median", "iqr", "ops", "q1", "total")
    return {
        "machine_info": {
            "machine": "x86_64", "system": "Linux", "python_version": "3.11.1", "threads": 1,
            "cpu": {"brand_raw": "CPU of a test", "count": 2},
            "load_average": {"start": [0.25, 0, 0], "end": [1.0, 0, 0]},
        },
        "commit_info": {"id": "0123456789abcdef", "time": "2026-01-01", "dirty": True, "branch": "mine"},
        "benchmarks": [{
            "group": None, "name": "test_dose", "fullname": "benchmarks/a.py::test_dose", "params": None, "param": None,
            "options": {"timer": "process_time"},
            "stats": {
                **dict.fromkeys(names, stats), "outliers": "0;0", "rounds": 3, "iterations": 1, "data": [stats] * 3,
            },
            "extra_info": {
                "operation": "dose", "problem": "8 voxels", "threads": 1, "wall_s": 0.5, "count": 4e6, "unit": "pairs",
            },
        }],
        "datetime": "2026-01-02T03:04:05+00:00",
        "version": "5.1.0",
    }  # fmt: skip


def test_a_slim_record_is_compared_by_the_command_of_the_library(tmp_path):
    """`pytest-benchmark compare A B` shows both medians, and how they differ."""
    for name, seconds in (("before", 0.2), ("after", 0.1)):
        record = written(seconds)
        slim(record, command="pytest benchmarks")
        assert "data" not in record["benchmarks"][0]["stats"]
        assert "branch" not in record["commit_info"]
        (tmp_path / f"{name}.json").write_text(json.dumps(record))
    compare = "from pytest_benchmark.cli import main; main()"
    command = [sys.executable, "-c", compare, "compare", "before.json", "after.json", "--columns=median"]
    printed = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    medians = re.findall(r"test_dose \((\w+)[^|]*?\)\s+([\d.]+) \(([\d.]+)\)", printed)
    assert medians == [("after", "100.0000", "1.0"), ("before", "200.0000", "2.00")]


def test_the_command_of_a_record_names_no_folder_of_the_machine():
    peer = "/opt/" + "some/venv/bin/python"
    words = ("benchmarks/test_a.py", "--full-size", "--peers", peer, f"--benchmark-json={peer}.json", "-k", "a or b")
    assert command_line(words) == (
        "pytest benchmarks/test_a.py --full-size --peers python --benchmark-json=python.json -k 'a or b'"
    )


def test_the_tables_state_how_they_were_measured():
    record = written(0.2)
    slim(record, command="pytest benchmarks --full-size")
    text = tables.section(record, "records/a.json")
    assert max(len(line) for line in text.splitlines()) <= 120
    text = " ".join(text.split())
    for stated in (
        "`pytest benchmarks --full-size`",
        "2 cores, CPU of a test, 1 thread(s) used",
        "load average 0.2 at the start and 1.0",
        "2026-01-02",
        "commit `0123456789`, with changes not committed",
    ):
        assert stated in text
    assert "| dose | 8 voxels | 200 | 500 | 20 pairs |" in text


def test_a_ratio_is_the_other_side_over_ours():
    record = written(0.2)
    record["benchmarks"][0]["extra_info"].update(other="SciPy", other_cpu_s=0.5, other_threads=1)
    assert (
        "| dose, 1 thread | 8 voxels | 200 | SciPy, 1 thread | 500 | **2.5** |"
        in tables.sections(record["benchmarks"])[0]
    )


def test_growth_is_fitted_from_the_record():
    benches = []
    for point in powers():
        bench = copy.deepcopy(written(point.cpu_s)["benchmarks"][0])
        bench["extra_info"].update(dataclasses.asdict(point), beamlet_mm=5.0)
        benches.append(bench)
    fitted = " ".join(tables.sections(benches)[0].split())
    assert "12 cases of 8000 to 64000 voxels, beamlets of 5 mm, 1 to 9 beams" in fitted
    assert "| voxels | 1.05 ± 0.00 |" in fitted
    assert tables.sections(benches, points=True)[1].count("\n") == 13


@pytest.mark.parametrize(
    "document", ["no markers", f"{tables.END}\n{tables.BEGIN}", 2 * f"{tables.BEGIN}\n{tables.END}\n"]
)
def test_a_document_without_its_markers_is_left_alone(document):
    with pytest.raises(ValueError, match="once, in this order"):
        tables.spliced(document, "text")


def test_what_stands_around_the_markers_stays():
    document = f"before\n{tables.BEGIN}\nold\n{tables.END}\nafter\n"
    assert tables.spliced(document, "new") == f"before\n{tables.BEGIN}\nnew\n{tables.END}\nafter\n"


def test_readme_shows_a_record_as_it_is():
    """The tables between the markers are those that the record they name gives."""
    name = re.search(r"record\s`([^`]+)`", README.split(tables.BEGIN)[1])
    assert tables.spliced(README, tables.section(read_record(ROOT / name[1]), name[1])) == README


def test_the_page_on_the_optimiser_shows_its_records_as_they_are():
    page = (ROOT / "docs" / "optimiser_benchmarks.md").read_text(encoding="utf-8")
    names = re.findall(r"record\s`([^`]+)`", page.split(tables.BEGIN)[1])
    assert names
    text = "\n\n".join(tables.section(read_record(ROOT / name), name) for name in names)
    assert tables.spliced(page, text) == page


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_records_are_slim(path):
    text = path.read_text(encoding="utf-8")
    assert len(text) < 2_500 * len(json.loads(text)["benchmarks"])
    assert len(text) < 100_000
    assert '"data"' not in text


def test_the_profile_adds_up_to_the_wall_time():
    record = {"timings_s": {"anatomy": 1.0, "optimisation": 6.0}, "backend": "numba", "commit": None}
    rows = re.findall(r"^\| ([^|]+) \| ([\d.]+) \| (\d+) % \|$", profile_demo.table(record, wall_s=10.0), flags=re.M)
    assert rows == [
        ("optimisation", "6.0", "60"),
        ("start, patient, reading, report", "3.0", "30"),
        ("anatomy", "1.0", "10"),
        ("all", "10.0", "100"),
    ]


def measured_on_a_gpu(rows: list[list[Any]]) -> dict[str, Any]:
    """A record with rows of the GPU's table."""
    record = written(0.1)
    record["machine_info"]["gpu"] = {"name": "NVIDIA H200", "driver": "580.1", "cuda": "12.9", "cupy": "14.2.0"}
    slim(record, command="pytest benchmarks/test_bench_cuda.py -m cuda")
    record["benchmarks"][0]["extra_info"]["gpu_rows"] = rows
    return record


def test_the_table_of_a_gpu_says_what_is_met_missed_and_not_measured():
    record = measured_on_a_gpu([["matrix 5", 120.0], ["dose + adjoint", 1.5], ["rows", 6.0]])
    text = gpu_table.section([("benchmarks/records/a.json", record)])
    assert "on NVIDIA H200, driver 580.1, CUDA 12.9, CuPy 14.2.0, 2026-01-02, commit `0123456789`" in " ".join(
        text.split()
    )
    assert "| 50 G pairs/s | 100 G pairs/s | 120 G pairs/s: aim met |" in text
    assert "| 2 ms | 0.5 ms | 1.5 ms: met |" in text
    assert "| 5 ms | 1 ms | 6 ms: **missed** |" in text
    assert text.count("not measured") == len(gpu_table.ROWS) - 3
    with pytest.raises(KeyError, match="fill"):
        gpu_table.section([("a", measured_on_a_gpu([["fill", 1.0]]))])


@pytest.mark.parametrize("page", ["README.md", "docs/gpu.md"])
def test_pages_show_the_table_of_a_gpu_as_its_records_give_it(page):
    """Or not at all."""
    text = (ROOT / page).read_text(encoding="utf-8")
    if gpu_table.BEGIN not in text:
        assert page == "README.md"
        return
    names = re.findall(r"record\s`([^`]+)`", text.split(gpu_table.BEGIN)[1].split(gpu_table.END)[0])
    made = gpu_table.section([(name, read_record(ROOT / name)) for name in names])
    assert tables.spliced(text, made, gpu_table.BEGIN, gpu_table.END) == text
