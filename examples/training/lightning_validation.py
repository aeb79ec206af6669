"""FVD and KVD of a generator's validation samples in Lightning, logged like any other metric.

    pip install 'javisbench[torchmetrics]' pytorch-lightning
    python examples/training/lightning_validation.py

The "generator" here is one linear layer that learns the mean of random features, so that the example runs in seconds
and without weights. In earnest give ``FVD(weights="i3d_pretrained_400.pt")`` and update with videos, uint8
``(B, T, H, W, 3)`` or float ``(B, T, 3, H, W)`` in [0, 1].
"""

from __future__ import annotations

import json

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MetricCollection

from javisbench.metrics.for_torchmetrics import FVD, KVD


class Generator(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Linear(8, 400)
        # Lightning resets what it logs after each epoch; the real side is added once and kept.
        self.distances = MetricCollection(
            {
                "fvd": FVD(reset_real_features=False),
                "kvd": KVD(protocol="javisbench-v2", reset_real_features=False),
            }
        )
        self.seen: list[dict[str, float]] = []

    def on_fit_start(self) -> None:
        for (real,) in self.trainer.datamodule.real():
            self.distances.update(real.to(self.device), real=True)

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        (real,) = batch
        loss = nn.functional.mse_loss(self.network(torch.randn(len(real), 8, device=self.device)), real)
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: list[Tensor], _: int) -> None:
        made = self.network(torch.randn(len(batch[0]), 8, device=self.device))
        # Without `forward`, no distance is computed before the epoch's end.
        self.distances.update(made, real=False)
        self.log_dict(self.distances)

    def on_validation_epoch_end(self) -> None:
        self.seen.append({name: float(value) for name, value in self.distances.compute().items()})

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.05)


class Features(pl.LightningDataModule):
    def __init__(self) -> None:
        super().__init__()
        self.rows = TensorDataset(2 + torch.randn(128, 400, generator=torch.Generator().manual_seed(0)))

    def real(self) -> DataLoader:
        return DataLoader(self.rows, batch_size=32)

    def train_dataloader(self) -> DataLoader:
        return self.real()

    def val_dataloader(self) -> DataLoader:
        return self.real()


def main() -> None:
    pl.seed_everything(0, verbose=False)
    model = Generator()
    trainer = pl.Trainer(
        max_epochs=4, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(model, datamodule=Features())
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    print(json.dumps({"epochs": model.seen, "logged": logged}))


if __name__ == "__main__":
    main()
