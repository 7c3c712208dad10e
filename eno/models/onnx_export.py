"""Fitted heads as ONNX files, for programs without eno or PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import softmax

from eno.errors import MissingExtra, NotFitted
from eno.files import replace_file
from eno.models.base import BaseHead
from eno.models.calibration.scaling import logits_of
from eno.models.exclusive import ExclusiveLabels
from eno.models.heads.linear import LinearHead
from eno.models.heads.mlp import MLPHead
from eno.version import __version__

if TYPE_CHECKING:
    from onnx import ModelProto

_OPSET, _IR = 17, 8  # read by onnxruntime 1.13 and newer


def export_onnx(head: BaseHead, path: Path | str, *, labels: Sequence[str] = ()) -> None:
    """Write a fitted `linear` or `mlp` head as an ONNX file.

    The model takes ``vectors`` [shape=(n, ...), dtype=float32], raw as they are in a store, and returns
    ``probabilities`` [shape=(n, k), dtype=float32] as `predict_proba` does: before calibration. Its metadata have the
    names in `labels`, separated by line breaks.

    Raises
    ------
    MissingExtra
        The package onnx is not installed.
    ValueError
        The head is of another kind, or pools windows.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtra("onnx", "onnx") from error
    model = _model(head)
    onnx.helper.set_model_props(model, {"eno": __version__, "labels": "\n".join(labels)})
    onnx.checker.check_model(model)
    with replace_file(Path(path)) as temporary:
        onnx.save(model, str(temporary))


def _model(head: BaseHead) -> ModelProto:
    from onnx import TensorProto, helper, numpy_helper

    shape = head._shape
    if shape is None:
        raise NotFitted(type(head).__name__)
    nodes: list[Any] = []
    constants: list[Any] = []

    def add(kind: str, *inputs: str | np.ndarray, **attributes: Any) -> str:
        names = []
        for one in inputs:
            if isinstance(one, np.ndarray):
                array = one if one.dtype in (np.int64, np.bool_) else one.astype(np.float32)
                constants.append(numpy_helper.from_array(np.ascontiguousarray(array), f"c{len(constants)}"))
                names.append(constants[-1].name)
            else:
                names.append(one)
        result = f"n{len(nodes)}"
        nodes.append(helper.make_node(kind, names, [result], **attributes))
        return result

    members = head._members or [head]
    logits = [_logits(one, add) for one in members]
    mean = logits[0] if len(logits) == 1 else add("Mean", *logits)
    probabilities = _competing(add("Sigmoid", mean), mean, head._exclusive, add)
    nodes.append(helper.make_node("Identity", [probabilities], ["probabilities"]))
    graph = helper.make_graph(
        nodes,
        head.name,
        [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", "k"])],
        constants,
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR, producer_name="eno"
    )


def _competing(probabilities: str, logits: str, exclusive: ExclusiveLabels, add: Any) -> str:
    """Add the nodes of labels that exclude each other, and return the name of all probabilities."""
    if not exclusive:
        return probabilities
    clipped = add("Clip", logits, *(np.array(logits_of(np.array(edge)), np.float32) for edge in (0, 1)))
    for one in exclusive.families:
        columns = np.array(one.labels, np.int64)
        competing = add("Add", add("Gather", clipped, columns, axis=1), one.offsets)
        if one.none:
            zeros = add("Mul", add("ReduceSum", competing, np.array([1], np.int64)), np.zeros(1, np.float32))
            competing = add("Concat", competing, add("Add", zeros, np.log([one.none])), axis=1)
        shares = add("Gather", add("Softmax", competing, axis=1), np.arange(len(columns)), axis=1)
        # Scatters along the labels: the places of a row are those of every row.
        places = add("Expand", columns[None], add("Shape", shares))
        probabilities = add("ScatterElements", probabilities, places, shares, axis=1)
    return probabilities


def _logits(head: BaseHead, add: Any) -> str:
    """Add the nodes of one head, and return the name of its logits."""
    if isinstance(head, LinearHead) and type(head) is LinearHead:
        fitted = head._fitted
        flat = add("Reshape", "vectors", np.array([-1, len(fitted["mean"])], np.int64))
        standardised = add("Mul", add("Sub", flat, fitted["mean"]), fitted["scale"])
        return str(add("Gemm", standardised, fitted["coefficients"], fitted["intercepts"]))
    if isinstance(head, MLPHead) and head._network is not None and not head.takes_windows:
        weights = {name: value.cpu().numpy() for name, value in head._network.state_dict().items()}
        values = add("Mul", add("Sub", "vectors", weights["mean"]), weights["scale"])
        if "layer_weights" in weights:
            weighted = add("Mul", values, softmax(weights["layer_weights"])[:, None])
            values = add("ReduceSum", weighted, np.array([1], np.int64), keepdims=0)
        for name in _linear_layers(weights):
            values = add("Relu", add("Gemm", values, weights[f"{name}.weight"], weights[f"{name}.bias"], transB=1))
        logits = add("Gemm", values, weights["output.weight"], weights["output.bias"], transB=1)
        prior = weights["prior"]
        return str(add("Where", np.isnan(prior), logits, np.nan_to_num(prior)))
    raise ValueError(
        f"The head {head.name!r} cannot be exported to ONNX. Heads that can are 'linear', and 'mlp' with "
        "pooling = 'none'."
    )


def _linear_layers(weights: dict[str, np.ndarray]) -> Iterator[str]:
    names = {name.removesuffix(".weight") for name in weights if name.startswith("body.") and name.endswith(".weight")}
    yield from sorted(names, key=lambda name: int(name.split(".")[1]))
