"""Changes to DICOM files that several tests make."""

from __future__ import annotations

from pathlib import Path

import pytest


def compress_with_gdcm(folder: Path, syntax: str) -> None:
    """Encode every image of a folder in place; the test is skipped where GDCM is not installed."""
    gdcm = pytest.importorskip("gdcm")
    for file in folder.iterdir():
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(str(file))
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer.SetFileName(str(file))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
