"""Prescriptions, goals and biological dose: declarations with sources, and pure formulas."""
