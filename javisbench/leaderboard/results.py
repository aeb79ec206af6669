"""Another name of `javisbench.results.run_folder`, for programs that know it."""

from javisbench.results.run_folder import load_result, load_results

__all__ = ["load_result", "load_results"]
