"""A constraint set of a user's own: one limit."""

OWN_SET = """
schema_version = 1
name = "ours"
title = "ours"
population = "any"

[[limits]]
id = "A1"
fractions = [5]
structure = "Duodenum"
metric = "D0.5cc"
comparator = "<"
limit = 28
unit = "Gy"
level = "mandatory"
level_by = "source"
status = "VERIFIED"
source = "ours"
"""
