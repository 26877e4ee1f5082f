"""Types of the compiled module."""

from collections.abc import Sequence
from typing import Any, TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt

# which parts this build has
with_cuda: bool
with_mujoco: bool

# --- kernels: written by tools/make_stub.py
# An op's fields by name; NAME_cpu returns the place of a bad value, or -1, where it looks for one.
Address: TypeAlias = int
DTypeCode: TypeAlias = int

kernel_fields: dict[str, tuple[tuple[str, str], ...]]

class SampleRowsFields(TypedDict):
    table: Address
    size: Address
    begin: Address
    counter: Address
    seed: int
    rows: Address
    batch: int
    capacity: int

class NstepReturnFields(TypedDict):
    reward: Address
    terminated: Address
    truncated: Address
    is_tail: Address
    rows: Address
    nstep_reward: Address
    discount: Address
    next_row: Address
    num_rows: int
    batch: int
    nstep: int
    gamma: float
    bootstrap_on_truncation: bool
    is_float64: bool

class ReplayGatherFields(TypedDict):
    source: list[Address]
    rows: list[Address]
    out: list[Address]
    num_rows: list[int]
    row_stride: list[int]
    features: list[int]
    stack: list[int]
    source_dtype: list[DTypeCode]
    out_dtype: list[DTypeCode]
    episode_step: Address
    batch: int

class ScatterRowsFields(TypedDict):
    rows: list[Address]
    values: list[Address]
    target: list[Address]
    num_rows: list[int]
    row_bytes: list[int]
    count: list[int]

class RandomShiftGatherFields(TypedDict):
    frames: Address
    rows: Address
    next_rows: Address
    episode_step: Address
    counter: Address
    obs: Address
    next_obs: Address
    seed: int
    num_rows: int
    frame_stride: int
    channels: int
    height: int
    width: int
    batch: int
    stack: int
    pad: int
    scale: float
    offset: float
    out_dtype: DTypeCode

class ProposalFields(TypedDict):
    q: Address
    q_dtype: DTypeCode
    stride_proposal: int
    stride_critic: int
    stride_batch: int
    subset: Address
    counter: Address
    seed: int
    proposals: int
    num_critics: int
    batch: int
    subset_size: int
    beta: float
    greedy: bool

class IbrlTargetFields(TypedDict):
    q: Address
    q_dtype: DTypeCode
    stride_proposal: int
    stride_critic: int
    stride_batch: int
    subset: Address
    counter: Address
    seed: int
    proposals: int
    num_critics: int
    batch: int
    subset_size: int
    beta: float
    greedy: bool
    reward: Address
    discount: Address
    reward_stride: int
    discount_stride: int
    target: Address
    choice: Address

class IbrlSelectFields(TypedDict):
    q: Address
    q_dtype: DTypeCode
    stride_proposal: int
    stride_critic: int
    stride_batch: int
    subset: Address
    counter: Address
    seed: int
    proposals: int
    num_critics: int
    batch: int
    subset_size: int
    beta: float
    greedy: bool
    actions: Address
    action_stride_proposal: int
    action_stride_batch: int
    action_stride_dim: int
    action_dim: int
    action_bytes: int
    action: Address
    choice: Address

class AdamUpdateFields(TypedDict):
    values: Address
    exp_avg: Address
    exp_avg_sq: Address
    step: Address
    gradient: list[Address]
    offset: list[int]
    count: list[int]
    target: Address
    target_begin: int
    size: int
    learning_rate: float
    beta1: float
    beta2: float
    eps: float
    rho: float
    is_float64: bool

class EnsembleNormReluFields(TypedDict):
    x: Address
    bias: Address
    norm_weight: Address
    norm_bias: Address
    out: Address
    mean: Address
    rstd: Address
    num_critics: int
    batch: int
    width: int
    eps: float
    dtype: DTypeCode

class EnsembleNormReluBackwardFields(TypedDict):
    grad_out: Address
    x: Address
    bias: Address
    norm_weight: Address
    norm_bias: Address
    mean: Address
    rstd: Address
    grad_x: Address
    grad_bias: Address
    grad_norm_weight: Address
    grad_norm_bias: Address
    scratch: Address
    num_critics: int
    batch: int
    width: int
    dtype: DTypeCode

class SpatialEmbedSizesFields(TypedDict):
    num_critics: int
    proposals: int
    batch: int
    channels: int
    embed_dim: int
    dtype: DTypeCode

class SpatialEmbedFields(TypedDict):
    patches: Address
    extra: Address
    norm_weight: Address
    norm_bias: Address
    channel_weight: Address
    out: Address
    mean: Address
    rstd: Address
    num_critics: int
    proposals: int
    batch: int
    channels: int
    embed_dim: int
    dtype: DTypeCode
    extra_strides: tuple[int, ...]
    out_strides: tuple[int, ...]
    eps: float

class SpatialEmbedBackwardFields(TypedDict):
    grad_out: Address
    patches: Address
    extra: Address
    norm_weight: Address
    norm_bias: Address
    channel_weight: Address
    mean: Address
    rstd: Address
    grad_extra: Address
    grad_patches: Address
    grad_norm_weight: Address
    grad_norm_bias: Address
    grad_channel_weight: Address
    scratch: Address
    num_critics: int
    proposals: int
    batch: int
    channels: int
    embed_dim: int
    dtype: DTypeCode
    grad_out_strides: tuple[int, ...]
    extra_strides: tuple[int, ...]
    grad_extra_strides: tuple[int, ...]

class SpatialEmbedScratchFields(TypedDict):
    num_critics: int
    proposals: int
    batch: int
    channels: int
    embed_dim: int
    dtype: DTypeCode
    of_weights: bool

class MlpInputsFields(TypedDict):
    weight: list[Address]
    bias: list[Address]
    norm_weight: list[Address]
    norm_bias: list[Address]
    in_dim: list[int]
    out_dim: list[int]
    members: int
    inputs: int
    proposals: int
    batch: int
    x_dim: int
    extra_dim: int
    slots: int
    is_float64: bool
    layer_norm: bool
    tanh: bool
    x: Address
    extra: Address
    mask: Address
    x_strides: tuple[int, ...]
    extra_strides: tuple[int, ...]
    mask_stride: int
    out: Address
    saved: Address
    scratch: Address
    saved_size: int
    scratch_size: int

class MlpFields(TypedDict):
    weight: list[Address]
    bias: list[Address]
    norm_weight: list[Address]
    norm_bias: list[Address]
    in_dim: list[int]
    out_dim: list[int]
    members: int
    inputs: int
    proposals: int
    batch: int
    x_dim: int
    extra_dim: int
    slots: int
    is_float64: bool
    layer_norm: bool
    tanh: bool
    x: Address
    extra: Address
    mask: Address
    x_strides: tuple[int, ...]
    extra_strides: tuple[int, ...]
    mask_stride: int
    out: Address
    saved: Address
    scratch: Address
    saved_size: int
    scratch_size: int
    subset: Address
    num_members: int
    eps: float

class MlpBackwardFields(TypedDict):
    weight: list[Address]
    bias: list[Address]
    norm_weight: list[Address]
    norm_bias: list[Address]
    in_dim: list[int]
    out_dim: list[int]
    members: int
    inputs: int
    proposals: int
    batch: int
    x_dim: int
    extra_dim: int
    slots: int
    is_float64: bool
    layer_norm: bool
    tanh: bool
    x: Address
    extra: Address
    mask: Address
    x_strides: tuple[int, ...]
    extra_strides: tuple[int, ...]
    mask_stride: int
    out: Address
    saved: Address
    scratch: Address
    saved_size: int
    scratch_size: int
    grad_out: Address
    grad_x: Address
    grad_extra: Address
    grad_weight: list[Address]
    grad_bias: list[Address]
    grad_norm_weight: list[Address]
    grad_norm_bias: list[Address]

def sample_rows_cpu(fields: SampleRowsFields, threads: int) -> int: ...
def sample_rows_cuda(fields: SampleRowsFields, device: int, stream: int) -> None: ...
def nstep_return_cpu(fields: NstepReturnFields, threads: int) -> int: ...
def nstep_return_cuda(fields: NstepReturnFields, device: int, stream: int) -> None: ...
def replay_gather_cpu(fields: ReplayGatherFields, threads: int) -> int: ...
def replay_gather_cuda(fields: ReplayGatherFields, device: int, stream: int) -> None: ...
def scatter_rows_cpu(fields: ScatterRowsFields, threads: int) -> int: ...
def scatter_rows_cuda(fields: ScatterRowsFields, device: int, stream: int) -> None: ...
def random_shift_gather_cpu(fields: RandomShiftGatherFields, threads: int) -> int: ...
def random_shift_gather_cuda(fields: RandomShiftGatherFields, device: int, stream: int) -> None: ...
def ibrl_target_cpu(fields: IbrlTargetFields, threads: int) -> int: ...
def ibrl_target_cuda(fields: IbrlTargetFields, device: int, stream: int) -> None: ...
def ibrl_select_cpu(fields: IbrlSelectFields, threads: int) -> int: ...
def ibrl_select_cuda(fields: IbrlSelectFields, device: int, stream: int) -> None: ...
def adam_update_cpu(fields: AdamUpdateFields, threads: int) -> int: ...
def adam_update_cuda(fields: AdamUpdateFields, device: int, stream: int) -> None: ...
def ensemble_norm_relu_cpu(fields: EnsembleNormReluFields, threads: int) -> None: ...
def ensemble_norm_relu_cuda(fields: EnsembleNormReluFields, device: int, stream: int) -> None: ...
def ensemble_norm_relu_backward_cpu(fields: EnsembleNormReluBackwardFields, threads: int) -> None: ...
def ensemble_norm_relu_backward_cuda(
    fields: EnsembleNormReluBackwardFields, device: int, stream: int
) -> None: ...
def spatial_embed_cpu(fields: SpatialEmbedFields, threads: int) -> None: ...
def spatial_embed_cuda(fields: SpatialEmbedFields, device: int, stream: int) -> None: ...
def spatial_embed_backward_cpu(fields: SpatialEmbedBackwardFields, threads: int) -> None: ...
def spatial_embed_backward_cuda(fields: SpatialEmbedBackwardFields, device: int, stream: int) -> None: ...
def spatial_embed_scratch_cpu(fields: SpatialEmbedScratchFields) -> int: ...
def spatial_embed_scratch_cuda(fields: SpatialEmbedScratchFields) -> int: ...
def mlp_cpu(fields: MlpFields, threads: int) -> int: ...
def mlp_cuda(fields: MlpFields, device: int, stream: int) -> None: ...
def mlp_backward_cpu(fields: MlpBackwardFields, threads: int) -> None: ...
def mlp_backward_cuda(fields: MlpBackwardFields, device: int, stream: int) -> None: ...

# --- end of what is written

# --- for tests
def philox4x32_10(counter: Sequence[int], key: Sequence[int]) -> list[int]: ...
def get_cpu_isa() -> int: ...
def limit_cpu_isa(isa: int) -> None: ...

# --- environment pool, with_mujoco only
def load_mujoco(path: str) -> None: ...
def mujoco_version() -> str: ...
def list_native_tasks() -> list[str]: ...

class EnvBatch:
    """Where results of a step are written; keeps the arrays alive."""

    def __init__(
        self,
        results: dict[str, npt.NDArray[Any]],
        obs: list[npt.NDArray[Any]],
        final_obs: list[npt.NDArray[Any]],
    ) -> None: ...

class EnvPool:
    """Environments stepped by C++ threads."""

    def __init__(self, options: dict[str, Any]) -> None: ...
    def reset(self, *args: Any) -> Any: ...
    def step(self, actions: npt.NDArray[np.float32], batch: EnvBatch) -> bool | None: ...
    def observe(self, stacks: Sequence[npt.NDArray[np.uint8] | None], batch: EnvBatch) -> None: ...
    def get_stack(self, key: int) -> npt.NDArray[np.uint8]: ...
    def set_home(self, batch: EnvBatch) -> None: ...
    def send(self, actions: npt.NDArray[np.float32], envs: Sequence[int]) -> None: ...
    def recv(self, count: int, batch: EnvBatch) -> list[int]: ...
    def get_state(self, *args: Any) -> Any: ...
    def set_state(self, *args: Any) -> None: ...
    def render_frames(
        self, envs: Sequence[int], camera: str, size: int, platform: str, device: int
    ) -> npt.NDArray[np.uint8]: ...
    def close(self) -> None: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def camera_names(self) -> list[str]: ...
    @property
    def start_dim(self) -> int: ...
    @property
    def render_info(self) -> tuple[str, str, bool]: ...
