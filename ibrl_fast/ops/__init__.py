"""Fused operations, each with a torch reference, a CPU and a CUDA kernel."""
