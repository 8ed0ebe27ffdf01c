"""Gaussian noise from the operating system's entropy. It has no seed: nobody can draw it again and take it away."""

from __future__ import annotations

import os

import numpy as np


def standard_normals(count: int) -> np.ndarray:
    """Returns float32 [count], independent standard normals by Box and Muller (1958) from `os.urandom`.

    Radii come from 64 bits each, which reaches 9.4 standard deviations, and angles from 32. Rounding to float32 is not
    hidden: who can see sums to their last bits might tell noise from signal (Mironov 2012).
    """
    pairs = -(-count // 2)
    radii = np.frombuffer(os.urandom(8 * pairs), np.uint64).astype(np.float64)
    angles = np.frombuffer(os.urandom(4 * pairs), np.uint32) * (2 * np.pi / 2**32)
    radii = np.sqrt(-2.0 * np.log((radii + 1.0) / 2.0**64))
    return np.concatenate([radii * np.cos(angles), radii * np.sin(angles)])[:count].astype(np.float32)


def drawn(count: int, probability: float) -> np.ndarray:
    """Returns int64 [_], ascending: which of `count` come, each with `probability` and independently of the others."""
    if probability >= 1:
        return np.arange(count)
    numbers = np.frombuffer(os.urandom(8 * count), np.uint64)
    return np.flatnonzero(numbers < np.uint64(int(probability * 2.0**64)))
