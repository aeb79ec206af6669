"""Check what `make demo` left: every clip scored, all 19 categories in the table.

Usage: python tests/check_demo.py RUN
"""

import json
import sys
from pathlib import Path

summary = json.loads((Path(sys.argv[1]) / "summary.json").read_text(encoding="utf-8"))
cells = summary["metrics"]["av_align"]
categories = {name: cell for aspect, group in cells.items() if aspect != "overall" for name, cell in group.items()}
assert len(categories) == 19, sorted(categories)
assert all(cell["n"] >= 5 and cell["value"] is not None for cell in categories.values()), categories
assert not summary["failures"], summary["failures"][:3]
print(f"demo: {summary['run']['clips']} clips, {len(categories)} categories, no failure")
