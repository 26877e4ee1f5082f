"""Imitation bootstrapped reinforcement learning (IBRL) with fused CPU and CUDA operations."""

__version__ = "0.1.0"
