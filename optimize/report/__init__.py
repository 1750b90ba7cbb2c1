"""The plan report: one HTML page with everything in it, readable without a network and without scripts."""

from .html import render_report

__all__ = ["render_report"]
