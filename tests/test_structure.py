"""The package's rooms: imports go down only, and no files import each other in a circle.

Read with `ast`, so that nothing is imported. Imports inside functions count: they are where a climb hides. Imports for
type checkers count too: a type from above ties a file to what it should not know. The package's own `__init__` is left
out: it names the front door's members for lazy import.
"""

from __future__ import annotations

import ast
import builtins
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "javisbench"
ROOMS = (
    ("cli", "__main__"),
    ("leaderboard",),
    ("publish",),
    ("api", "rewards"),
    ("run",),
    ("results",),
    ("reference",),
    ("baselines",),
    ("metrics",),
    ("weights",),
    ("matching", "damages"),
    (
        "suite",
        "suite_folder",
        "suite_layouts",
        "suite_rows",
        "suite_samples",
        "suite_statement",
        "transcripts",
        "protocol",
        "media",
    ),
    (
        "agreement",
        "bradley_terry",
        "stats",
        "taxonomy",
        "own_aspects",
        "registry",
        "settings",
        "durable",
        "cards",
        "clip",
        "errors",
        "hub",
        "pace",
        "system_faults",
        "tasks",
        "isolated",
        "strict_json",
        "places",
        "private",
        "text",
    ),
)
"""From the top; a room imports from its own row and the rows below."""

Graph = Mapping[str, frozenset[str]]


def modules() -> dict[str, Path]:
    """Dotted name to file of every module; `metrics` and `baselines` are links into the package."""
    found = {}
    for room in (PACKAGE, PACKAGE / "metrics", PACKAGE / "baselines"):
        for path in room.resolve().rglob("*.py"):
            parts = (
                "javisbench",
                *(room / path.relative_to(room.resolve())).relative_to(PACKAGE).with_suffix("").parts,
            )
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imported(path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively"
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                if inside in known or node.module in known:
                    yield inside if inside in known else str(node.module)


@pytest.fixture(scope="module")
def graph() -> Graph:
    known = modules()
    found = {name: frozenset(imported(path, known)) - {name} for name, path in known.items()}
    return {**found, "javisbench": frozenset()}


def room_of(module: str) -> str:
    return module.split(".")[1]


def circle(graph: Graph) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_every_module_is_read(graph: Graph) -> None:
    assert "javisbench.metrics.fvd" in graph and "javisbench.baselines.command" in graph
    assert "javisbench.run.plan" in graph["javisbench.run.scoring_job"], "imports inside functions count"
    assert "javisbench.results.run_folder" in graph["javisbench.results.table"], "imports of types count"


def test_every_room_has_its_place(graph: Graph) -> None:
    placed = {room for row in ROOMS for room in row}
    assert {room_of(module) for module in graph if module != "javisbench"} == placed


def test_imports_go_down_only(graph: Graph) -> None:
    height = {room: -place for place, row in enumerate(ROOMS) for room in row}
    climbs = [
        f"{module} imports {target}"
        for module, targets in graph.items()
        for target in targets - {"javisbench"}
        if height[room_of(target)] > height[room_of(module)]
    ]
    assert not climbs, "\n".join(climbs)


def test_no_files_import_each_other_in_a_circle(graph: Graph) -> None:
    assert circle(graph) == []
    tied = {**graph, "javisbench.errors": graph["javisbench.errors"] | {"javisbench.api"}}
    assert {"javisbench.errors", "javisbench.api"} <= set(circle(tied)), "a circle would be seen"


def test_no_error_hides_a_builtin() -> None:
    errors = ast.parse((PACKAGE / "errors.py").read_text(encoding="utf-8"))
    assert [
        node.name for node in ast.walk(errors) if isinstance(node, ast.ClassDef) and hasattr(builtins, node.name)
    ] == []


def test_upper_rooms_import_nothing_heavy() -> None:
    rooms = ("results.table", "results.compare", "publish.export", "api", "run.merge", "run.scoring_job")
    script = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(f'javisbench.{name}')\n"
        "assert not {'torch', 'pandas', 'av', 'cv2', 'scipy', 'transformers'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", script, *rooms], check=True, timeout=60)
