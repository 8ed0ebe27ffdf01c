"""An ONNX graph as it is put together: nodes, weights, and constants that are stored once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from jaxtyping import Float
from onnx import TensorProto, helper, numpy_helper

from t2igan.inference.export.int8 import SMALL_ARRAY, int8_levels

IR_VERSION = 8  # what opset 18 asks for; runtimes of early 2023 read it

TYPES = {np.dtype(name): getattr(TensorProto, name.upper()) for name in ("int64", "uint8")} | {
    np.dtype(np.float32): TensorProto.FLOAT
}


class Graph:
    """A graph under construction; values are called by their names in it.

    `dtype` is what weights are stored in: "float32", "float16", or "int8" with a scale a channel. Arithmetic is float32
    in any case.
    """

    def __init__(self, dtype: str = "float32"):
        self.dtype = dtype
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, onnx.TensorProto] = {}
        self._constants: dict[tuple, str] = {}
        self._inputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, dtype: Any, shape: Sequence[int | str]) -> str:
        """Declares an input; a name in the shape is an axis of any length."""
        self._inputs.append(helper.make_tensor_value_info(name, TYPES[np.dtype(dtype)], shape))
        return name

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Adds a node; returns the name of its output, or a list of names where there are several."""
        number = len(self._nodes)
        names = [f"{kind}_{number}_{i}" if outputs > 1 else f"{kind}_{number}" for i in range(outputs)]
        self._nodes.append(helper.make_node(kind, list(inputs), names, name=f"{kind}_{number}", **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """Returns the name of a constant; equal ones are stored once."""
        array = np.asarray(value, dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self._store(f"constant_{len(self._constants)}", array)
        return self._constants[key]

    def ints(self, *values: int) -> str:
        """Returns the name of a list of whole numbers, as shapes and axes are."""
        return self.constant(values, np.int64)

    def weight(self, name: str, array: Float[np.ndarray, "*shape"], channel_axis: int = -1) -> str:
        """Stores trained values, once by their name, and returns the name of them as float32.

        Args:
          name: in the file.
          array: the values.
          channel_axis: of int8, the axis whose every entry has a scale of its own.
        """
        if name in self._weights or f"{name}.stored" in self._weights:
            return name
        array = np.ascontiguousarray(array, np.float32)
        if self.dtype == "float32" or array.size < SMALL_ARRAY:
            return self._store(name, array)
        if self.dtype == "float16":
            stored = self._store(f"{name}.stored", array.astype(np.float16))
            node = helper.make_node("Cast", [stored], [name], name=f"{name}.cast", to=TensorProto.FLOAT)
        else:
            axis = channel_axis % array.ndim
            levels, scale = int8_levels(array, axis)
            stored = self._store(f"{name}.stored", levels)
            scales = self._store(f"{name}.scale", scale.reshape(-1))
            node = helper.make_node("DequantizeLinear", [stored, scales], [name], name=f"{name}.real", axis=axis)
        self._nodes.append(node)
        return name

    def model(
        self, output: str, dtype: Any, shape: Sequence[int | str], opset: int, metadata: Mapping[str, str]
    ) -> Any:
        """Returns the whole, checked, with one output called "images"."""
        nodes = [*self._nodes, helper.make_node("Identity", [output], ["images"], name="images")]
        result = helper.make_tensor_value_info("images", TYPES[np.dtype(dtype)], shape)
        graph = helper.make_graph(nodes, "t2igan", self._inputs, [result], list(self._weights.values()))
        model = helper.make_model(
            graph, producer_name="t2igan", ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", opset)]
        )
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model, full_check=True)
        return model

    def _store(self, name: str, array: np.ndarray) -> str:
        self._weights[name] = numpy_helper.from_array(array, name)
        return name
