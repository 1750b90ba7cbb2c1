"""Write the table of cases."""

from .table import TABLE, table
from .test_cases import CASES

TABLE.write_text(table(CASES), encoding="utf-8")
print(f"{len(CASES)} cases written to {TABLE.name}")
