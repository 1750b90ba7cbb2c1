"""Photon dose: grids, structures, machines, the pencil-beam operator and its readers."""
