"""Check the built distributions: they hold `javisbench` alone, and the wheel works outside the checkout.

Usage: python tests/check_wheel.py DIST
"""

import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

NEEDED = (
    "javisbench/cli/score.py",
    "javisbench/metrics/av_align.py",
    "javisbench/baselines/procedural/__init__.py",
    "javisbench/baselines/recipes/foleycrafter.py",
    "javisbench/baselines/recipes/serving.py",
    "javisbench/data_cards/suites/demo.csv",
    "javisbench/data_cards/suites/sync-scenes.csv",
    "javisbench/data_cards/weights/imagebind_huge.toml",
    "javisbench/leaderboard/assets/site.css",
    "javisbench/leaderboard/templates/base.html.j2",
    "javisbench/publish/verify.py",
    "javisbench/py.typed",
    "javisbench/results/run_folder.py",
)

dist = Path(sys.argv[1]).resolve()
(wheel,) = dist.glob("*.whl")
(sdist,) = dist.glob("*.tar.gz")
names = zipfile.ZipFile(wheel).namelist()
tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
assert tops == {"javisbench"}, f"the wheel holds {tops}"
missing = [name for name in NEEDED if name not in names]
assert not missing, f"the wheel lacks {missing}"
with tarfile.open(sdist) as archive:
    members = [member.name.split("/", 1)[1] for member in archive.getmembers() if "/" in member.name]
folders = {name.split("/")[0] for name in members if "/" in name}
assert folders <= {"javisbench", "javisbench.egg-info"}, f"the sdist holds {folders}"
assert not [name for name in NEEDED if name not in members], "the sdist lacks files that the wheel has"

with tempfile.TemporaryDirectory() as folder:
    site = Path(folder) / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True)
    # The wheel's copy must win over an editable install of the checkout.
    env = {**os.environ, "PYTHONPATH": str(site)}
    where = "import javisbench, javisbench.metrics; print(javisbench.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", where], cwd=folder, env=env, check=True, capture_output=True, text=True
    )
    assert found.stdout.startswith(str(site)), found.stdout
    job = "-m javisbench eval --model procedural --suite demo --limit 1 --metrics av_align --out run --json --quiet"
    subprocess.run([sys.executable, *job.split()], cwd=folder, env=env, check=True, stdout=subprocess.DEVNULL)
print(f"wheel: {wheel.name} and {sdist.name} hold javisbench alone and work from elsewhere")
