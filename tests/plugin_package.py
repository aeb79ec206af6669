"""Packages as pip leaves them: modules, entry points, a version. What plugins look like to javisbench."""

from __future__ import annotations

import importlib
import shutil
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from javisbench.baselines.registry import GENERATORS
from javisbench.cards import CARD_FOLDERS
from javisbench.metrics.encoders import ENCODERS
from javisbench.metrics.registry import METRICS
from javisbench.registry import Registry
from javisbench.settings import _PLUGINS as WITH_SETTINGS
from javisbench.suite import SUITES

REGISTRIES: tuple[Registry[object], ...] = (METRICS, ENCODERS, GENERATORS, SUITES, CARD_FOLDERS, *WITH_SETTINGS)  # type: ignore[arg-type]


class Site:
    """A folder of installed packages. `refresh` makes this process see what changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self._modules: set[str] = set()

    def install(
        self,
        name: str,
        entries: str,
        source: str = "",
        *,
        requires: Sequence[str] = (),
        files: Mapping[str, str] | None = None,
    ) -> None:
        """A package whose module has the package's name, with ``_`` for ``-``."""
        module = name.replace("-", "_")
        info = self.folder / f"{module}-1.0.dist-info"
        info.mkdir()
        needed = "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needed}")
        (info / "entry_points.txt").write_text(entries)
        (self.folder / module).mkdir()
        (self.folder / module / "__init__.py").write_text(source)
        for path, text in (files or {}).items():
            (self.folder / module / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / module / path).write_text(text)
        self._modules.add(module)
        self.refresh()

    def install_example(self, source: Path) -> None:
        """The example package of the documentation, from its folder."""
        project = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        groups = [
            f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in entries.items())
            for group, entries in project["entry-points"].items()
        ]
        module = project["name"].replace("-", "_")
        self.install(project["name"], "".join(groups))
        shutil.rmtree(self.folder / module)
        (self.folder / module).symlink_to(source / module)
        self.refresh()

    def uninstall(self, name: str) -> None:
        """As `pip uninstall`: nothing finds it any more."""
        module = name.replace("-", "_")
        for folder in (self.folder / f"{module}-1.0.dist-info", self.folder / module):
            shutil.rmtree(folder)
        self.refresh()

    def refresh(self) -> None:
        """Forget what was found before."""
        importlib.invalidate_caches()
        for module in [name for name in sys.modules if name.partition(".")[0] in self._modules]:
            del sys.modules[module]
        for registry in REGISTRIES:
            registry.refresh()
