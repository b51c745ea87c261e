from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Chunk(_message.Message):
    __slots__ = ("size", "data")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    size: int
    data: bytes
    def __init__(self, size: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("data", "progress")
    DATA_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    progress: Progress
    def __init__(self, data: _Optional[bytes] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("done", "total")
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    done: int
    total: int
    def __init__(self, done: _Optional[int] = ..., total: _Optional[int] = ...) -> None: ...

class Terms(_message.Message):
    __slots__ = ("protocol", "seed", "side", "split", "run", "party")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    PARTY_FIELD_NUMBER: _ClassVar[int]
    protocol: str
    seed: str
    side: SideTerms
    split: SplitTerms
    run: str
    party: str
    def __init__(self, protocol: _Optional[str] = ..., seed: _Optional[str] = ..., side: _Optional[_Union[SideTerms, _Mapping]] = ..., split: _Optional[_Union[SplitTerms, _Mapping]] = ..., run: _Optional[str] = ..., party: _Optional[str] = ...) -> None: ...

class SideTerms(_message.Message):
    __slots__ = ("layers", "width", "bottleneck", "outputs", "epochs", "batch", "learning_rate", "weight_decay", "private", "selector", "positions", "entries")
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    BOTTLENECK_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_DECAY_FIELD_NUMBER: _ClassVar[int]
    PRIVATE_FIELD_NUMBER: _ClassVar[int]
    SELECTOR_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    layers: int
    width: int
    bottleneck: int
    outputs: int
    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float
    private: PrivateTerms
    selector: str
    positions: int
    entries: int
    def __init__(self, layers: _Optional[int] = ..., width: _Optional[int] = ..., bottleneck: _Optional[int] = ..., outputs: _Optional[int] = ..., epochs: _Optional[int] = ..., batch: _Optional[int] = ..., learning_rate: _Optional[float] = ..., weight_decay: _Optional[float] = ..., private: _Optional[_Union[PrivateTerms, _Mapping]] = ..., selector: _Optional[str] = ..., positions: _Optional[int] = ..., entries: _Optional[int] = ...) -> None: ...

class PrivateTerms(_message.Message):
    __slots__ = ("rate", "expected", "an_epoch", "clip", "ratio", "epsilon", "delta")
    RATE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    AN_EPOCH_FIELD_NUMBER: _ClassVar[int]
    CLIP_FIELD_NUMBER: _ClassVar[int]
    RATIO_FIELD_NUMBER: _ClassVar[int]
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    rate: float
    expected: float
    an_epoch: int
    clip: float
    ratio: float
    epsilon: float
    delta: float
    def __init__(self, rate: _Optional[float] = ..., expected: _Optional[float] = ..., an_epoch: _Optional[int] = ..., clip: _Optional[float] = ..., ratio: _Optional[float] = ..., epsilon: _Optional[float] = ..., delta: _Optional[float] = ...) -> None: ...

class SplitTerms(_message.Message):
    __slots__ = ("backbone", "classes", "settings")
    BACKBONE_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    backbone: str
    classes: _containers.RepeatedScalarFieldContainer[str]
    settings: str
    def __init__(self, backbone: _Optional[str] = ..., classes: _Optional[_Iterable[str]] = ..., settings: _Optional[str] = ...) -> None: ...

class Joined(_message.Message):
    __slots__ = ("largest", "quota")
    LARGEST_FIELD_NUMBER: _ClassVar[int]
    QUOTA_FIELD_NUMBER: _ClassVar[int]
    largest: int
    quota: int
    def __init__(self, largest: _Optional[int] = ..., quota: _Optional[int] = ...) -> None: ...
