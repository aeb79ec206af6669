"""Shared fixtures: reference numbers in tests/golden (where they come from: tests/golden/README.md)."""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from javisbench.weights import WeightStore

# Librosa and resampy, the oracles of some tests, keep compiled code beside their own files. Two test processes that
# write there at once can leave each other with code that crashes.
_COMPILED = tempfile.TemporaryDirectory(prefix="javisbench-tests-numba-")
os.environ["NUMBA_CACHE_DIR"] = _COMPILED.name

# An example that takes long on a busy machine is no failure.
settings.register_profile("javisbench", deadline=None)
settings.load_profile("javisbench")

GOLDEN = Path(__file__).parent / "golden"


# With few workers, a file of minutes that is begun last is waited for.
LONGEST_FILES = (
    "run/test_golden_cli.py",
    "baselines/test_diffusers_pipelines.py",
    "run/test_trial.py",
    "rewards/test_rewards.py",
    "run/test_durability.py",
    "test_examples.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files; the order within a file stays."""
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST_FILES)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish() -> None:
    """What was made to collect tests stays to the end: the garbage collector need not look through it again."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _one_blas_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def kept_decoders() -> Iterator[Any]:
    """Decoding processes that one reader leaves to the next (tests/kept_decoders.py)."""
    kept = _module(Path(__file__).parent / "kept_decoders.py").KeptDecoders()
    yield kept
    kept.end()


@pytest.fixture(scope="module", autouse=True)
def decoders_are_kept(kept_decoders: Any) -> Iterator[None]:
    """Readers take decoding processes from those before them. A module about processes has a fixture of this name."""
    with kept_decoders.in_use():
        yield


@pytest.fixture(autouse=True)
def _wide_tables() -> Iterator[None]:
    """Tables go by ``COLUMNS``, which notebooks and other libraries set for their processes.

    Not by `monkeypatch`: fixtures that a test asks for must be undone after what it patches.
    """
    columns = os.environ.pop("COLUMNS", None)
    yield
    if columns is not None:
        os.environ["COLUMNS"] = columns


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of reference numbers."""
    return GOLDEN


@pytest.fixture(scope="session")
def golden_json() -> Callable[[str], Any]:
    """Read ``tests/golden/<name>.json``."""
    return lambda name: json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def golden_npz() -> Callable[[str], dict[str, np.ndarray]]:
    """Read ``tests/golden/<name>.npz``."""

    def read(name: str) -> dict[str, np.ndarray]:
        with np.load(GOLDEN / f"{name}.npz") as arrays:
            return {key: arrays[key] for key in arrays.files}

    return read


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WeightStore:
    """A store that has nothing, with a cache of the test's own."""
    from javisbench.weights import WeightStore

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("JAVISBENCH_WEIGHTS", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return WeightStore()


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def seeded_weights() -> ModuleType:
    """The stand-in weights' generator: ``seeded_state_dict(shapes, preset, seed)``."""
    return _module(GOLDEN / "seeded_weights.py")


@pytest.fixture(scope="session")
def javisdit_seeded() -> ModuleType:
    """The JavisDiT stand-in weights' generator: ``seeded(spec)``."""
    return _module(GOLDEN / "javisdit" / "seeded.py")


@pytest.fixture(scope="session")
def clips_fake() -> Path:
    """11 generated clips, sample_0000 to sample_0010, mp4 with wav beside it."""
    return GOLDEN / "clips" / "fake"


@pytest.fixture(scope="session")
def clips_real() -> Path:
    """Their 11 real counterparts."""
    return GOLDEN / "clips" / "real"


@pytest.fixture(scope="session")
def save_stand_in_tokenizer() -> Callable[[Path], None]:
    """Write the stand-in CLAP's tokenizer file."""
    save: Callable[[Path], None] = _module(Path(__file__).parent / "stand_in_tokenizer.py").save_stand_in_tokenizer
    return save


@pytest.fixture
def cheap_set_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace I3D and FVD by cheap ones with the same plumbing; FVD is then the only set metric that is built."""
    import javisbench.metrics.encoders.i3d as i3d
    import javisbench.metrics.fvd as fvd

    cheap = _module(Path(__file__).parent / "cheap_set_metrics.py")
    monkeypatch.setattr(i3d, "I3DEncoder", cheap.MeanColour)
    monkeypatch.setattr(fvd, "FVDMetric", cheap.ColourDistance)
    monkeypatch.setattr("javisbench.metrics.registry.default_set_metrics", lambda: ("fvd",))


@pytest.fixture(scope="session")
def published_suites() -> ModuleType:
    """Folders laid out as suites are published (tests/published_suites.py)."""
    return _module(Path(__file__).parent / "published_suites.py")


@pytest.fixture(scope="session")
def synthetic_runs() -> ModuleType:
    """Synthetic run folders (tests/synthetic_runs.py)."""
    return _module(Path(__file__).parent / "synthetic_runs.py")


@pytest.fixture
def fixed_cards(synthetic_runs: ModuleType) -> Iterator[None]:
    """Metrics with fixed titles, directions and digits."""
    with synthetic_runs.fixed_cards():
        yield


@pytest.fixture
def write_run(synthetic_runs: ModuleType, tmp_path: Path) -> Any:
    """Write one synthetic run folder and return its path."""
    return synthetic_runs.RunWriter(tmp_path / "runs")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium (tests/browser.py)."""
    module = _module(Path(__file__).parent / "browser.py")
    if lack := module.missing():
        (pytest.fail if os.environ.get("JAVISBENCH_BROWSER") == "required" else pytest.skip)(lack)
    with module.started() as browser:
        yield browser


@pytest.fixture
def axe(browser: Any) -> Callable[[], list[list[Any]]]:
    """The serious and critical findings of axe-core on the page that the browser shows."""
    if "JAVISBENCH_AXE" not in os.environ:
        pytest.skip("JAVISBENCH_AXE does not name axe-core's axe.min.js")
    violations: Callable[[], list[list[Any]]] = browser.violations
    return violations


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Installs packages into a folder from which this process imports (tests/plugin_package.py)."""
    packages = _module(Path(__file__).parent / "plugin_package.py").Site(tmp_path / "site")
    monkeypatch.syspath_prepend(str(packages.folder))
    yield packages
    monkeypatch.undo()
    packages.refresh()


@pytest.fixture
def example_package(packages: Any) -> Any:
    """The package of docs/extending.md, installed."""
    packages.install_example(Path(__file__).parents[1] / "examples" / "plugin")
    return packages


@pytest.fixture(scope="session")
def lip_inputs() -> ModuleType:
    """Clips, sounds and weights of lip synchrony (tests/lip_inputs.py)."""
    return _module(Path(__file__).parent / "lip_inputs.py")


@pytest.fixture(scope="session")
def tiny_whisper() -> ModuleType:
    """``save_tiny_whisper(folder, seed)`` and its `SIZE` (tests/tiny_whisper.py)."""
    return _module(Path(__file__).parent / "tiny_whisper.py")


@pytest.fixture(scope="session")
def sound_packages() -> ModuleType:
    """Small networks in the place of packages for sound (tests/sound_packages.py)."""
    return _module(Path(__file__).parent / "sound_packages.py")
