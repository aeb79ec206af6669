"""FID's features and distance by pytorch-fid itself, on the golden clips with stand-in weights.

    python tests/golden/fid/make_fid.py        # writes fid.npz beside this file

Needs pytorch-fid and a torchvision that imports beside the installed torch. Frames 0, 1/3, 2/3 and last of every clip
go through PNG files and pytorch-fid's `get_activations`; its network gets seeded weights where it would download its
own. `fid` is its `calculate_frechet_distance`, in float64, of the 16 features that vary most over the 44 frames (all 2048
would leave the covariance singular, where that function is not accurate).
"""
import sys
import tempfile
from pathlib import Path

import av
import numpy as np
import pytorch_fid
import scipy
import torch
import torchvision
from PIL import Image
from pytorch_fid import fid_score, inception

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from seeded_weights import seeded_state_dict  # noqa: E402

PRESET = "cavp"  # its rule for ".conv.weight" keeps the activations' scale
FEW = 16


def seeded_state(*_args, **_kwargs):
    found = torchvision.models.inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False)
    for name, block in (
        ("Mixed_5b", inception.FIDInceptionA(192, pool_features=32)),
        ("Mixed_5c", inception.FIDInceptionA(256, pool_features=64)),
        ("Mixed_5d", inception.FIDInceptionA(288, pool_features=64)),
        ("Mixed_7b", inception.FIDInceptionE_1(1280)),
        ("Mixed_7c", inception.FIDInceptionE_2(2048)),
    ):
        setattr(found, name, block)
    shapes = {name: list(tensor.shape) for name, tensor in found.state_dict().items()}
    return {name: torch.from_numpy(np.asarray(a)) for name, a in seeded_state_dict(shapes, PRESET, 0).items()}


def frames_of(path):
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    places = np.rint(np.linspace(0, len(frames) - 1, 4)).astype(int)
    return [frames[place] for place in places]


def main():
    torch.set_num_threads(1)
    inception.load_state_dict_from_url = seeded_state
    network = inception.InceptionV3([3]).eval()
    sides = {}
    for side in ("fake", "real"):
        rows = []
        for index in range(11):
            with tempfile.TemporaryDirectory() as folder:
                files = []
                for k, frame in enumerate(frames_of(HERE.parent / "clips" / side / f"sample_{index:04d}.mp4")):
                    files.append(Path(folder) / f"{k}.png")
                    Image.fromarray(frame).save(files[-1])
                rows.append(fid_score.get_activations(files, network, 4, 2048, "cpu", num_workers=0))
        sides[side] = np.stack(rows)
    columns = np.sort(np.argsort(sides["fake"].reshape(-1, 2048).var(axis=0))[-FEW:])
    few = {side: rows[:, :, columns].astype(np.float32) for side, rows in sides.items()}
    flat = {side: rows.reshape(-1, FEW).astype(np.float64) for side, rows in few.items()}
    moments = [part for side in ("fake", "real") for part in (flat[side].mean(axis=0), np.cov(flat[side], rowvar=False))]
    np.savez_compressed(
        HERE / "fid.npz",
        fake=few["fake"],
        real=few["real"],
        columns=columns,
        whole=sides["fake"][[0, 7]].astype(np.float32),
        fid=np.float64(fid_score.calculate_frechet_distance(*moments)),
        versions=np.array(
            [f"{m.__name__} {m.__version__}" for m in (torch, torchvision, pytorch_fid, scipy, np, av)]
        ),
    )


if __name__ == "__main__":
    main()
