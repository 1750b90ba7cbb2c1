"""DICOM readers and writers: leaves that only build and read the types."""
