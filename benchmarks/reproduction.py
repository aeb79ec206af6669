"""How often verdicts of `javisbench reproduce check` are wrong: simulated recipes of ten values.

    python benchmarks/reproduction.py            writes benchmarks/results/reproduction.json
    python benchmarks/reproduction.py --table    prints what is recorded, for docs/reproduce.md

A published value is the mean over its own clips, rounded to three digits; ours is the mean over others, with the
interval of `javisbench.stats.slice_means`. Scores are skewed (exponential, standard deviation 0.1). With two clips a
prompt, these resemble each other. Margins are in standard deviations of a score.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from javisbench.results.cell import Cell
from javisbench.results.recipe import Expected
from javisbench.results.reproduction import compared
from javisbench.stats import slice_means

RESULTS = Path(__file__).parent / "results" / "reproduction.json"
SPREAD = 0.1
VALUES = 10
# n, n of the published value, margin and true deviation in standard deviations, repeats
CASES = (
    (20, 20, 0.0, 0.0, 1),
    (60, 60, 0.0, 0.0, 1),
    (60, 60, 0.0, 0.0, 2),
    (60, 1000, 0.0, 0.0, 1),
    (1000, 60, 0.0, 0.0, 1),
    (500, 500, 0.0, 0.0, 1),
    (500, 500, 0.1, 0.0, 1),
    (500, 500, 0.2, 0.0, 1),
    (500, 500, 0.2, 0.2, 1),
    (500, 500, 0.2, 0.4, 1),
    (500, 500, 0.2, 0.8, 1),
)


def simulate(
    reps: int, n: int, published: int, margin: float, away: float, repeats: int, seed: int = 0
) -> dict[str, Any]:
    """Shares of the verdicts of single values, and of recipes that call any value different."""
    rng = np.random.default_rng([seed, n, published, repeats, int(100 * margin), int(100 * away)])
    counts: Counter[str] = Counter()
    any_differs = 0
    clusters = np.arange(n) // repeats
    for _ in range(reps):
        rows = []
        for _ in range(VALUES):
            ours = rng.exponential(SPREAD, clusters[-1] + 1)[clusters] + rng.normal(0, 0.01, n)
            theirs = rng.exponential(SPREAD, published) + away * SPREAD
            cell = Cell.of(slice_means(ours, clusters, {"overall": np.arange(n)}, resamples=1000)["overall"])
            value = round(float(theirs.mean()), 3)
            rows.append((Expected("tv_ib", "x", value, 3, "overall", published, margin * SPREAD, "x", "x"), cell, ""))
        verdicts = [row.verdict for row in compared(rows, int(clusters[-1]) + 1)]
        counts.update(verdicts)
        any_differs += "differs" in verdicts
    shares = {word: round(counts[word] / (reps * VALUES), 4) for word in ("equal", "differs", "cannot tell")}
    case = {"n": n, "published_n": published, "margin": margin, "away": away, "repeats": repeats}
    return {**case, "recipes": reps, "any_differs": round(any_differs / reps, 4), **shares}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        "| n | published n | clips a prompt | margin | deviation | any value differs | equal | differs | cannot tell |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        shares = (f"{100 * row[name]:.1f} %" for name in ("any_differs", "equal", "differs", "cannot tell"))
        case = (row["n"], row["published_n"], row["repeats"], f"{row['margin']:g}", f"{row['away']:g}")
        lines.append(f"| {' | '.join(map(str, (*case, *shares)))} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Simulate and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", type=int, default=1000, help="simulated recipes a case")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="print the recorded results, simulate nothing")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(json.loads(arguments.out.read_text(encoding="utf-8"))["cases"]), end="")
        return
    rows = [simulate(arguments.recipes, *case) for case in CASES]
    document = {"values_a_recipe": VALUES, "cases": rows}
    arguments.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
