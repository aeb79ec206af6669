"""The contract between encoders, the feature store and metrics.

A metric names the features it needs (`FeatureSpec`); an encoder makes them from clips or prompts; the runner stores
them once under a key of content + encoder + weights + spec, and hands them to the metric. Two protocols whose specs
are equal share the features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

from javisbench.errors import JavisbenchError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from javisbench.clip import Clip

Setting: TypeAlias = str | int | float | bool
Subject: TypeAlias = Literal["clip", "text", "audio_text"]
Features: TypeAlias = "Mapping[str, NDArray[np.generic]]"


@dataclass(frozen=True)
class FeatureSpec:
    """What a metric asks of an encoder for one clip or prompt.

    Attributes:
        encoder: the encoder's registry name.
        feature: which of the encoder's features (its docstring lists them with shapes).
        prep: every setting that changes the feature, as sorted (name, value) pairs. Settings that do not change this
            feature must be left out, so that protocols share it.
        subject: made from the clip, from the prompt, or from the audio prompt (`text` when there is none).
    """

    encoder: str
    feature: str
    prep: tuple[tuple[str, Setting], ...] = ()
    subject: Subject = "clip"

    @classmethod
    def of(cls, encoder: str, feature: str, *, subject: Subject = "clip", **prep: Setting) -> FeatureSpec:
        """A spec with `prep` sorted by name."""
        return cls(encoder, feature, tuple(sorted(prep.items())), subject)

    @property
    def settings(self) -> dict[str, Setting]:
        """`prep` as a dictionary."""
        return dict(self.prep)


@dataclass(frozen=True)
class EncoderCard:
    """Facts about an encoder, for `javisbench metrics show`, docs and the planner.

    Attributes:
        name: registry name.
        title: name in prose (``ImageBind huge``).
        variants: variant name to the id of its weights in data_cards/weights (None: needs no weights). The first is
            the default, official one.
        licence: of the weights; empty when there are none.
        source: paper or project.
        extra: the optional dependency group that it needs (``clip``), or None.
        host: True when it computes on the CPU without torch: the runner then calls it clip by clip in threads.
        reduced_precision: True when its network may run in half precision where the user asks for it (`--precision`).
        revision: raised when the computation changes, so that stored features of an older one are not used.
    """

    name: str
    title: str
    variants: Mapping[str, str | None]
    licence: str = ""
    source: str = ""
    extra: str | None = None
    host: bool = False
    reduced_precision: bool = False
    revision: int = 1

    @property
    def default_variant(self) -> str:
        """The official variant."""
        return next(iter(self.variants))


class Encoder(ABC):
    """Base of all encoders. Constructing one is cheap; `load` reads weights; `encode` may be called many times.

    Args:
        variant: a key of ``card.variants``; None for the default.
    """

    card: ClassVar[EncoderCard]

    def __init__(self, variant: str | None = None) -> None:
        self.variant = variant or self.card.default_variant

    @classmethod
    def lacking(cls) -> str | None:
        """What this machine lacks besides weights (a program, a setting), as a sentence; None when nothing."""
        return None

    def load(self, weights: Path | None, device: str) -> None:  # noqa: B027 - host encoders have nothing to load
        """Read `weights` (the local checkpoint of this variant; None when it needs none) and move to `device`.

        Raises:
            WeightsError: the file does not hold this network; every missing and unexpected name is listed.
        """

    @abstractmethod
    def encode(
        self, items: Sequence[Clip] | Sequence[str], specs: Sequence[FeatureSpec]
    ) -> list[dict[FeatureSpec, Features | JavisbenchError]]:
        """Features of a batch: all `items` are clips, or all are prompts, as the specs' subjects say.

        All specs on the same items come in one call, so that work they share is done once. One entry an item, holding
        each spec's feature arrays, or the `FeatureError` that says why this item has none: one bad item must not
        raise. Results do not depend on the other items of the batch beyond float rounding (1e-5 on cosines).
        """

    def close(self) -> None:  # noqa: B027 - most encoders hold nothing but memory
        """Free what `load` took."""
