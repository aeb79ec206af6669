"""Would the tests notice? Formulas of statistics, distances, verdicts and health checks, each changed in one place.

Every mutation replaces one expression in a copy of the tree and runs the tests that should fail then. One under which
they pass has survived: something that changes numbers is not tested. Where a text is not found, the code has moved on,
and its mutation has to follow. Run by ``make slow``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
LINKED = ("metrics", "baselines", "data_cards")

STATS = ("tests/test_stats.py",)
DISTANCES = ("tests/metrics/test_distance.py", "tests/metrics/test_distances.py", "-k", "not simulation")
DISTANCE = ("tests/metrics/test_distance.py", "tests/metrics/test_distances.py")
VARIANCE = ("tests/metrics/test_variance_correction.py",)
SLICES = ("tests/metrics/test_distances.py", "-k", "TestSlices or TestExtrapolation")
VERDICTS = (
    "tests/results/test_compare.py",
    "tests/results/test_ranking.py",
    "tests/results/test_verdicts.py",
    "tests/results/test_not_applicable.py",
)
SUMMARY = ("tests/results/test_summary.py",)
SETS = ("tests/reference/test_reference.py", "-k", "first_clip_of_each_prompt")
HEALTH = ("tests/metrics/test_health.py",)
CHECKS = ("tests/test_checks.py",)
SYNC = ("tests/metrics/test_av_sync.py",)
STORE = ("tests/run/test_features.py",)
AGREEMENT = ("tests/test_agreement.py",)


@dataclass(frozen=True)
class Mutation:
    """One changed expression.

    Attributes:
        what: it means, in a few words.
        file: of the tree.
        old: text that stands there once.
        new: what stands there instead.
        tests: arguments of pytest that should fail.
    """

    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def of(file: str, tests: tuple[str, ...], *changes: tuple[str, str, str]) -> list[Mutation]:
    return [Mutation(what, file, old, new, tests) for what, old, new in changes]


MUTATIONS = [
    *of(
        "javisbench/stats.py",
        STATS,
        (
            "prompts are not kept together",
            "cluster_totals(chosen - mean, codes[rows])",
            "cluster_totals(chosen - mean, rows)",
        ),
        ("prompts weigh alike", "len(chosen) * part.sizes[0] if equal_sizes[k]", "len(chosen) if equal_sizes[k]"),
        ("an interval of 90 %", "((1 - level) / 2, (1 + level) / 2)", "(1 - level, level)"),
        ("one prompt has an interval", "part.n >= 2 and len(part.sums) >= 2", "part.n >= 2"),
        ("the seed is lost", "default_rng(seed)", "default_rng(0)"),
        ("twenty prompts are few", "if prompts < FEW_PROMPTS", "if prompts <= FEW_PROMPTS"),
        ("variance over C", "len(totals) / (len(totals) - 1) * float", "1.0 * float"),
        (
            "repeats are new prompts",
            "    if clusters is not None:\n        totals, _ = cluster_totals(totals, np.asarray",
            "    if len(totals) < 0:\n        totals, _ = cluster_totals(totals, np.asarray",
        ),
        ("freedom of clips", "/ n, len(totals) - 1", "/ n, n - 1"),
        ("a mean over prompts", "float(np.sqrt(spread)) / n,", "float(np.sqrt(spread)) / len(totals),"),
        ("a one-sided quantile", "(1 + level) / 2)) * error", "level)) * error"),
        ("a one-sided test", "float(2 * stdtr(freedom", "float(stdtr(freedom"),
        ("the second less the first", "gaps = first - second", "gaps = second - first"),
        ("variance of pairs over C", "count / (count - 1) * np.einsum", "1.0 * np.einsum"),
        ("pairs without prompts", "totals, _ = cluster_totals(totals, _codes(clusters, n))", "_codes(clusters, n)"),
        ("a one-sided test of pairs", "row = 2 * stdtr", "row = stdtr"),
        ("raw p for Holm's", "steps = p[order] * (len(order) - np.arange(len(order)))", "steps = p[order] * 1.0"),
        ("Bonferroni for Holm", "(len(order) - np.arange(len(order)))", "len(order)"),
        ("steps may fall", "np.maximum.accumulate(steps)", "steps"),
        ("ranks by raw p", "holm(p_values[first, second]) <= alpha", "p_values[first, second] <= alpha"),
        (
            "worse is better",
            "(lead > 0) if higher_is_better else (lead < 0)",
            "(lead < 0) if higher_is_better else (lead > 0)",
        ),
        ("models without value count", "len(ranked) - int(better[i]", "models - int(better[i]"),
    ),
    *of(
        "metrics/variance_correction.py",
        VARIANCE,
        ("Fréchet excess doubled", "np.square(both))) / (2 * n * n)", "np.square(both))) / (n * n)"),
        (
            "kernel excess doubled",
            "_off_diagonal_square(derivative) / (2 * n * n)",
            "_off_diagonal_square(derivative) / (n * n)",
        ),
        ("a fixed set is sampled", "if not y_is_fixed:", "if len(y):"),
        ("a cross term lost", "        + frechet_cross(geometry, j, i)\n", ""),
        ("curvature of lengths", "bilinear - lengths / 2", "bilinear - lengths"),
        ("half of the kernel's own part", "2 * _twice_centred(own**3, n - 1)", "_twice_centred(own**3, n - 1)"),
        ("half of the kernel's cross part", "-2 * _twice_centred(base**3", "-1 * _twice_centred(base**3"),
        ("the mean moves the other way", "shift = (-6 / width)", "shift = (6 / width)"),
        ("bent the other way", "(shift - u @ curvature @ v.T)", "(shift + u @ curvature @ v.T)"),
        ("the other set does not bend", "spread @ spread / width - partner", "spread @ spread / width"),
        ("mean square over n²", "/ (n * (n - 1)))", "/ (n * n))"),
    ),
    *of(
        "metrics/distances.py",
        DISTANCES,
        ("biased MMD", "total_x / (n * (n - 1))", "total_x / (n * n)"),
        ("cross part once", "- 2 * total_cross / (n * m)", "- total_cross / (n * m)"),
        ("traces over n", "/ (len(rows) - 1) for rows in", "/ len(rows) for rows in"),
        ("sign of the real side's influence", "_influence(rows_y, -2 * gap", "_influence(rows_y, 2 * gap"),
        (
            "sign of the spread's influence",
            '- np.einsum("ij,ij->i", projected, projected)',
            '+ np.einsum("ij,ij->i", projected, projected)',
        ),
        ("2d is too few", "if sampled < 2 * width:", "if sampled <= 2 * width:"),
        ("a clip is all its frames", "reshape(samples, -1).mean(axis=1)", "reshape(samples, -1).sum(axis=1)"),
        ("sign of the jackknife", "(n - 1) * (without.mean() - without)", "(n - 1) * (without - without.mean())"),
        (
            "jackknife of n for n - 1",
            "(own - 2 * own_rows) / ((n - 1) * (n - 2))",
            "(own - 2 * own_rows) / (n * (n - 1))",
        ),
        ("the mean moves the other way", "- rows @ slope)", "+ rows @ slope)"),
        ("the mean moves to first order", "second - second.mean() - rows", "-rows"),
        (
            "a set that is not centred",
            "rows_x, rows_y = x - x.mean(axis=0), y - y.mean(axis=0)\n    sums",
            "rows_x, rows_y = x, y\n    sums",
        ),
    ),
    *of(
        "metrics/distances.py",
        VARIANCE,
        ("all of the excess", "_EXCESS_LEFT = 8", "_EXCESS_LEFT = 0"),
        ("the excess of both for a fixed set", "y_is_fixed=found.influences_real is None", "y_is_fixed=False"),
        ("a fixed set has influences", "found = replace(found, influences_real=None)", "pass"),
    ),
    *of(
        "metrics/distance.py",
        DISTANCE,
        ("the real side is ignored", "self.influences_fake + self.influences_real", "self.influences_fake"),
        ("nothing is taken off", "error**2 - found.excess", "error**2"),
        ("more than half taken off", "error**2 / 2)", "error**2 / 8)"),
    ),
    *of(
        "metrics/frechet_metric.py",
        SLICES,
        ("4d is too few", "if n < 2 * smallest:", "if n <= 2 * smallest:"),
        ("what the line leaves for R²", "1 - float(residual @ residual) / total", "float(residual @ residual) / total"),
        ("slope for intercept", "slope, intercept = np.polyfit", "intercept, slope = np.polyfit"),
        (
            "a line in n",
            "inverse = 1 / np.array(sizes, dtype=np.float64)",
            "inverse = np.array(sizes, dtype=np.float64)",
        ),
    ),
    *of(
        "javisbench/results/verdicts.py",
        VERDICTS,
        ("raw p for Holm's", "adjusted[above] = holm(p[above])", "adjusted[above] = p[above]"),
        ("prompts dropped", "shown, table, clusters.astype(np.intp), note=note)", "shown, table, None, note=note)"),
        ("another real side", "<= SAME_REAL_SIDE * size", "<= 1e9 * size"),
        ("few are ranked", "if found.n < MIN_N_TO_RANK:", "if found.n < 2:"),
        ("order of the suite", '"repeat"]).sort_index()', '"repeat"])'),
        ("changed prompts stay in", "i not in self.changed and (", "("),
        ("no filter of categories", "inside is None or i in inside", "True"),
        (
            "unlike shares are ranked",
            "zip(pairs, p_values, strict=True) if p <= ALPHA]",
            "zip(pairs, p_values, strict=True) if p < 0]",
        ),
        ("the smallest share goes", "left.remove(max(left, key=", "left.remove(min(left, key="),
        ("worse is better", "(gap > 0) == self.higher_is_better", "(gap > 0) != self.higher_is_better"),
    ),
    *of(
        "javisbench/results/summary.py",
        SUMMARY,
        ("repeats are new prompts", "[numbers[item.sample.id] for item in kept]", "range(len(kept))"),
        ("order of the suite", "for i in by_id(items) if", "for i in range(len(items)) if"),
        ("repeats in any order", "(items[i].sample.id, items[i].repeat)", "items[i].sample.id"),
        ("an empty category failed", "if cells[name].n or not rows.size:", "if cells[name].n:"),
        ("the seed is lost", "seed=seed)", "seed=0)"),
    ),
    *of(
        "javisbench/run/score.py",
        SETS,
        ("repeats in sets", "if item.repeat or item.source is None", "if item.source is None"),
        ("order of the suite in sets", "order = by_id(pairs.items)", "order = list(range(len(pairs.items)))"),
    ),
    *of(
        "metrics/health.py",
        HEALTH,
        ("silence", "SILENT_DBFS = -60.0", "SILENT_DBFS = -50.0"),
        ("silence at its limit", "levels < SILENT_DBFS", "levels <= SILENT_DBFS"),
        ("no sound is no silence", "if levels.size else 1.0", "if levels.size else 0.0"),
        ("frozen by mean", "FROZEN_CHANGE = 0.1", "FROZEN_CHANGE = 0.2"),
        ("frozen by pixels", "FROZEN_PIXELS = 1e-4", "FROZEN_PIXELS = 1e-3"),
        ("frozen by either", '(health["change"] < FROZEN_CHANGE) & (', '(health["change"] < FROZEN_CHANGE) | ('),
        ("one frame moves", "if frozen.size else 1.0", "if frozen.size else 0.0"),
        ("black", "BLACK_PIXELS = 0.98", "BLACK_PIXELS = 0.97"),
        ("black at its limit", ">= BLACK_PIXELS", "> BLACK_PIXELS"),
        ("the gate", "GATE_LUFS = -70.0", "GATE_LUFS = -71.0"),
        ("timing", "TIMING_FAULT_FRAMES = 0.5", "TIMING_FAULT_FRAMES = 0.6"),
        ("timing at its limit", "fault > TIMING_FAULT_FRAMES", "fault >= TIMING_FAULT_FRAMES"),
        ("upside down", "seconds / setting.duration_s", "setting.duration_s / seconds"),
        ("an open end is damage", '0.5 * float(health["certain"].any())', "0.5 * float(frames.size > 0)"),
    ),
    *of(
        "javisbench/results/checks.py",
        CHECKS,
        ("faulty clips are clean", "(checked & ~faulty).sum()", "checked.sum()"),
        ("no value is a check", "checked |= np.isfinite(values)", "checked |= True"),
        ("faults are not gathered", "faulty |= has", "faulty = has"),
    ),
    *of(
        "javisbench/results/table.py",
        CHECKS,
        ("no headline", "dict.fromkeys([*headline, *METRICS])", "dict.fromkeys([*METRICS])"),
        ("checks are ranked", "and not col.is_check", ""),
    ),
    *of(
        "javisbench/agreement.py",
        AGREEMENT,
        (
            "ties are right",
            "np.where(first == second, 0.5, first > second)",
            "np.where(first == second, 1.0, first > second)",
        ),
        ("a strict share with ties", "float((right == 1).mean())", "float((right > 0).mean())"),
        ("tau-a", "np.abs(known).sum() * np.abs(found).sum()", "len(known) ** 2"),
        (
            "clips, not sources",
            "1 + int(max(own.max(), foreign.max()))\n    if count < 2:",
            "1 + int(max(own.max(), foreign.max()))\n    if n < 2:",
        ),
    ),
    *of(
        "javisbench/run/features.py",
        STORE,
        ("checksums are not compared", "if sums and sums.get(key) != {", "if not sums and sums.get(key) != {"),
        ("rotten arrays come back", "if (path.name, key) not in rotten:", "if True:"),
    ),
    *of(
        "metrics/av_sync.py",
        SYNC,
        (
            "the ends are events",
            "channel[:, 0], channel[:, -1] = channel[:, 1], channel[:, -2]",
            "channel[:, 0], channel[:, -1] = 0.0, 0.0",
        ),
        (
            "the camera's motion stays",
            "return cells - np.median(cells, axis=(1, 2), keepdims=True)",
            "return cells - 0.0",
        ),
        ("speeding up for slowing", "speed[:, 1:-1] - speed[:, 2:])", "speed[:, 2:] - speed[:, 1:-1])"),
        ("late for early", "-round(late_s / STEP_S), axis=1", "round(late_s / STEP_S) + 5, axis=1"),
        (
            "p without lag 0",
            "(1 + (null >= self.best[self._place(0.0)]).sum())",
            "(null >= self.best[self._place(0.0)]).sum()",
        ),
        (
            "the null lies near",
            "beyond = np.minimum(away, steps - away) > round(NULL_FROM_S / STEP_S)",
            "beyond = away >= 0",
        ),
        ("even noise has events", "if changing < LEAST_LEVEL_CHANGE:", "if changing < 0:"),
        ("a mean for a trend", "series - _line(series, TREND_S)", "series - _weighted_mean(series, TREND_S)"),
    ),
]
UNCHANGED = [Mutation("nothing", "javisbench/stats.py", "FEW_PROMPTS = 20", "FEW_PROMPTS = 20", tests)
             for tests in sorted({mutation.tests for mutation in MUTATIONS})]  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what tests need."""
    copy = tmp_path_factory.mktemp("tree")
    for name in ("javisbench", "tests", "benchmarks", *LINKED):
        shutil.copytree(ROOT / name, copy / name, symlinks=True)
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


def outcome(tree: Path, mutation: Mutation) -> subprocess.CompletedProcess[str]:
    """What pytest says of the mutated tree, which is as before afterwards."""
    path = tree / mutation.file
    source = path.read_text(encoding="utf-8")
    assert source.count(mutation.old) == 1, f"{mutation.file} has {source.count(mutation.old)} times: {mutation.old}"
    files = [part for part in mutation.tests if not part.endswith(".py") or (tree / part).exists()]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *files]
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PYTEST_XDIST_WORKER", None)
    for stale in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
        stale.unlink()
    try:
        path.write_text(source.replace(mutation.old, mutation.new), encoding="utf-8")
        return subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, timeout=600, check=False
        )
    finally:
        path.write_text(source, encoding="utf-8")


@pytest.mark.parametrize("mutation", UNCHANGED, ids=lambda mutation: mutation.tests[0])
def test_the_tests_pass_without_a_mutation(tree: Path, mutation: Mutation) -> None:
    done = outcome(tree, mutation)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: f"{Path(mutation.file).stem}: {mutation.what}")
def test_a_mutation_is_noticed(tree: Path, mutation: Mutation) -> None:
    done = outcome(tree, mutation)
    assert done.returncode == 1, f"survived: {mutation.old} -> {mutation.new}\n{done.stdout[-1500:]}"
