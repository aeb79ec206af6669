"""The host's part of scoring: decoding and preparation, networks left out, against the reference evaluation's way.

    python benchmarks/host.py --clips 66 --threads 2 --workers 2 --json FILE

As `imagebind.py`, in one run over the same clips, but that every network of both ways answers at once with ones.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import imagebind
import torch


def main() -> None:
    here = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=here / "tests" / "golden" / "clips" / "fake")
    parser.add_argument("--clips", type=int, default=22, help="how many; the folder's are taken over and over")
    parser.add_argument("--workers", type=int, default=2, help="decoding processes of our way")
    parser.add_argument("--threads", type=int, default=2, help="torch threads of both ways")
    parser.add_argument("--json", type=Path, help="where the result goes")
    args = parser.parse_args()
    args.variant, args.device, args.precision = "tiny", "cpu", "fp32"
    args.batch_clips, args.ours_only = None, False
    torch.set_num_threads(args.threads)
    result = imagebind.run(args, without_networks=True)
    result["load_average"] = round(os.getloadavg()[0], 1)
    imagebind.print_report(result, as_json=False)
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
