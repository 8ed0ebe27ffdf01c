"""Peaks of accelerators: dense products in FLOP/s, from the makers' data sheets, without sparsity."""

from __future__ import annotations

# XLA computes float32 products on these by TF32 unless it is told otherwise, so that is the peak of "float32".
PEAKS = {
    "H200": {"bfloat16": 989e12, "float32": 494e12},
    "H100 PCIe": {"bfloat16": 756e12, "float32": 378e12},
    "H100": {"bfloat16": 989e12, "float32": 494e12},
    "A100": {"bfloat16": 312e12, "float32": 156e12},
    "L4": {"bfloat16": 121e12, "float32": 60e12},
}


def peak_flop_s(kind: str, dtype: str) -> float | None:
    """Returns the peak of a device, as JAX names it ("NVIDIA H100 80GB HBM3"); None where it is not known."""
    words = kind.replace("-", " ").split()
    found = next((peaks for name, peaks in PEAKS.items() if all(part in words for part in name.split())), None)
    return found[dtype] if found else None
