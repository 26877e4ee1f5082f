"""Types of the compiled module."""

with_cuda: bool
with_mujoco: bool
