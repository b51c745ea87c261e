"""SplitLoRA: low-rank updates on both sides of the cut, devices' updates averaged every so many batches.

The server trains one part on the batches of all devices in turn.
Source: arXiv 2407.00952; turns, interval and unweighted means of each factor as in the authors' code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ..errors import UsageError
from .fleet import Fleet
from .splitfed import SplitFed


@dataclass(frozen=True)
class SplitLoRA(SplitFed):
    """SplitFed's second version with averages by batches."""

    name: ClassVar[str] = "splitlora"
    title: ClassVar[str] = "SplitLoRA"
    source: ClassVar[str] = "arXiv 2407.00952"
    departures: ClassVar[tuple[str, ...]] = (
        "The paper describes devices in parallel, its code serves them in turn; here each sends a batch in turn.",
        "Classification: the head starts from the verbaliser and is trained by the server; no target token crosses.",
        "Keys and values of the device's blocks, which the authors' code sends along, do not cross: a pass without a "
        "cache needs none.",
        "Padding does not cross: positions are packed end to end, with the lengths.",
        "A device with more rows goes on when the others have left: the last averages are its own.",
        "Every device keeps the state of its optimiser over an average; one that waits asks again, which is counted.",
        "Devices download the server's update at the end, so that they can predict alone.",
    )

    version: Literal["v1", "v2"] = "v2"
    every: int = 100
    fleet: Fleet = Fleet(devices=3)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.version != "v2" or self.lora.full:
            raise UsageError("splitlora trains low-rank updates and one server part; use splitfed for anything else")
