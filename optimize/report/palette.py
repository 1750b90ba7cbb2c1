"""A colour for every structure, the same in slices, histogram and tables."""

from __future__ import annotations

from collections.abc import Iterable

# Middle tones that stand out on a dark CT, on the dose colours and on white paper.
_KNOWN = {
    "GTV": "#e0218a",
    "CTV": "#b5651d",
    "PTV": "#e00000",
    "PTV_opt": "#2563eb",
    "Body": "#7a7a7a",
    "Liver": "#a0522d",
    "Liver-GTV": "#a0522d",
    "Liver-PTV": "#c98a5e",
    "Duodenum": "#00933b",
    "Stomach": "#8a5cf6",
    "Bowel_Small": "#b8860b",
    "Colon": "#0e8a8a",
    "Esophagus": "#c2570c",
    "SpinalCord": "#0f9bd7",
    "Heart": "#c0396b",
    "BileDuct_Common": "#5d7a00",
    "GallBladder": "#6b8e23",
    "Kidney_Cortex": "#7c4a03",
    "Kidney_L": "#8f6a2a",
    "Kidney_R": "#7c4a03",
    "Chestwall": "#607d8b",
    "Skin": "#9a7b6f",
    "Rib": "#5b6472",
    "GreatVes": "#5a4fcf",
    "Spleen": "#9c27b0",
    "Pancreas": "#a67c00",
    "V_Portal": "#3f51b5",
    "Lung_L": "#3a87ad",
    "Lung_R": "#2b6f91",
}
_OTHERS = ("#1b9e77", "#d95f02", "#7570b3", "#e7298a", "#4d7f17", "#a6761d", "#4a6fa5", "#99475b", "#3d7a7a")


def colours(names: Iterable[str]) -> dict[str, str]:
    """A CSS colour for each name; names without one of their own take turns in the order given."""
    names = tuple(names)
    others = [name for name in names if _known(name) is None]
    turns = {name: _OTHERS[k % len(_OTHERS)] for k, name in enumerate(others)}
    return {name: _known(name) or turns[name] for name in names}


def _known(name: str) -> str | None:
    # The central hepatobiliary tract carries its margin in its name.
    return "#7b8d00" if name.startswith("cHBT_") else _KNOWN.get(name)
