"""Another name of `javisbench.results.table`, for programs that know it."""

from javisbench.results.table import board_table, run_table

__all__ = ["board_table", "run_table"]
