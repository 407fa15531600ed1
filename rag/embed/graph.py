"""A BERT encoder written out as an ONNX graph, straight from its tensors: float32 or int8.

Why by hand: exported graphs carry padding masks, shape arithmetic and separate operators that cost a
fifth of the time; and here the int8 arithmetic can be chosen so that a text's vector does not depend
on its neighbours (one scale for each token, none for a whole batch).

int8 = weights in 7 bits with a scale for each output column, activations in 8 bits with a scale for each
token. Seven bits because AVX2 adds two u8 x s8 products in saturating 16 bits: 2 * 255 * 63 < 32768 never
saturates, and CPUs with VNNI or AMX give the same sums. Embeddings, attention, softmax, layer norms,
residuals, GELU and pooling stay in float32.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rag.embed.model import Model, Weights

_MICROSOFT = "com.microsoft"
_GELU = {"gelu": "BiasGelu", "gelu_new": "FastGelu", "gelu_pytorch_tanh": "FastGelu"}
_MODEL_TYPES = ("bert", "roberta", "xlm-roberta", "camembert")

_ZERO = 128
"""The u8 that stands for 0 where values are of both signs."""
_GELU_ZERO, _GELU_FLOOR = 22, 1.8
"""GELU never goes below -0.17, so that nearly all of u8 serves its positive side: with a row's scale taken
from at least 1.8, -0.17 is -0.17 / 1.8 * 233 = -22 steps and nothing is clipped."""


def can_run(model: Model) -> bool:
    """Whether this module can write the model's graph: a BERT-shaped encoder with mean or CLS pooling."""
    config = model.config
    return (
        model.pooling != "other"
        and config.get("model_type") in _MODEL_TYPES
        and config.get("position_embedding_type", "absolute") == "absolute"
        and config.get("hidden_act") in _GELU
        and not config.get("is_decoder", False)
    )


def encoder(
    model: Model,
    weights: Weights,
    precision: Literal["float32", "int8"],
    *,
    rotation: npt.NDArray[np.float32] | None = None,
) -> bytes:
    """A serialised ONNX graph: sums of embeddings (texts, tokens, hidden) to pooled rows (texts, hidden).

    The second output is what is pooled: one row a token, times ``rotation`` (hidden, hidden) where that is
    given. Here it is 2 % of the work; in NumPy its BLAS has a second thread turn idly beside every worker.

    All texts of a batch have the same number of tokens: there is no mask and no padding.
    """
    return _Writer(model, weights, quantised=precision == "int8").write(rotation)


class _Writer:
    def __init__(self, model: Model, weights: Weights, *, quantised: bool) -> None:
        self._config, self._pooling = model.config, model.pooling
        self._weights, self._quantised = weights, quantised
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._names: set[str] = set()
        self._eps = float(model.config["layer_norm_eps"])
        self._constant("last_axis", np.array([-1], dtype=np.int64))
        self._constant("token_axis", np.array([1], dtype=np.int64))

    def write(self, rotation: npt.NDArray[np.float32] | None) -> bytes:
        from onnx import TensorProto, helper

        hidden = int(self._config["hidden_size"])
        x = self._norm("x", "embeddings.LayerNorm", name="embedded")
        for layer in range(int(self._config["num_hidden_layers"])):
            x = self._layer(x, f"encoder.layer.{layer}")
        if self._pooling == "mean":
            pooled = self._node("ReduceMean", [x, "token_axis"], "pooled", keepdims=0)
        else:
            pooled = self._node("Gather", [x, self._constant("first", np.int64(0))], "pooled", axis=1)
        states = x
        if rotation is not None:
            states = self._node("MatMul", [x, self._constant("rotation", rotation)], "rotated")
        graph = helper.make_graph(
            self._nodes,
            "encoder",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["texts", "tokens", hidden])],
            [
                helper.make_tensor_value_info(pooled, TensorProto.FLOAT, ["texts", hidden]),
                helper.make_tensor_value_info(states, TensorProto.FLOAT, ["texts", "tokens", hidden]),
            ],
            self._constants,
        )
        opsets = [helper.make_opsetid("", 20), helper.make_opsetid(_MICROSOFT, 1)]
        serialised: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
        return serialised

    def _layer(self, x: str, at: str) -> str:
        q, k, v = (self._product(x, f"{at}.attention.self.{part}") for part in ("query", "key", "value"))
        # Softmax does not see the key's bias (it adds one number to a whole row), and its rows sum to
        # one, so that the value's bias passes through unchanged and joins the output's.
        q = self._add(q, f"{at}.attention.self.query.bias")
        heads = int(self._config["num_attention_heads"])
        context = self._node(
            "MultiHeadAttention", [q, k, v], f"{at}.context", domain=_MICROSOFT, num_heads=heads
        )
        out = f"{at}.attention.output.dense"
        bias = (
            self._weights[f"{out}.bias"]
            + self._weights[f"{out}.weight"] @ (self._weights[f"{at}.attention.self.value.bias"])
        )
        attended = self._node(
            "Add", [self._product(context, out), self._constant(f"{out}.bias", bias)], f"{out}.b"
        )
        x = self._norm(self._node("Add", [x, attended], f"{at}.sum1"), f"{at}.attention.output.LayerNorm")
        up = self._product(x, f"{at}.intermediate.dense")
        gelu = _GELU[self._config["hidden_act"]]
        bias_name = self._constant(f"{at}.intermediate.bias", self._weights[f"{at}.intermediate.dense.bias"])
        active = self._node(gelu, [up, bias_name], f"{at}.active", domain=_MICROSOFT)
        down = self._product(active, f"{at}.output.dense", after_gelu=True)
        down = self._add(down, f"{at}.output.dense.bias")
        return self._norm(self._node("Add", [x, down], f"{at}.sum2"), f"{at}.output.LayerNorm")

    def _product(self, x: str, weight: str, *, after_gelu: bool = False) -> str:
        """``x`` times a linear layer's weights, without its bias."""
        matrix = self._weights[f"{weight}.weight"].T
        if not self._quantised:
            return self._node("MatMul", [x, self._constant(f"{weight}.w", matrix)], f"{weight}.xw")
        peak, levels, scale, zero = self._quantise(x, after_gelu=after_gelu)
        columns = np.maximum(np.abs(matrix).max(axis=0), np.float32(1e-12)) / np.float32(63)
        packed = np.rint(matrix / columns).astype(np.int8)
        inputs = [
            levels,
            self._constant(f"{weight}.w", packed),
            scale,
            self._constant(f"{weight}.scale", columns),
            zero,
        ]
        product = self._node("MatMulIntegerToFloat", inputs, f"{weight}.unscaled", domain=_MICROSOFT)
        return self._node("Mul", [product, peak], f"{weight}.xw")

    def _quantise(self, x: str, *, after_gelu: bool) -> tuple[str, str, str, str]:
        """Names of: each token's largest magnitude, its u8 levels, the value of a level, the level of 0."""
        zero = _GELU_ZERO if after_gelu else _ZERO
        names = (f"{x}.peak", f"{x}.levels", f"level{zero}", f"zero{zero}")
        if names[1] in self._names:  # query, key and value read the same levels
            return names
        self._constant(names[2], np.float32(1 / (255 - zero)))
        self._constant(names[3], np.uint8(zero))
        magnitude = x if after_gelu else self._node("Abs", [x], f"{x}.abs")
        highest = self._node("ReduceMax", [magnitude, "last_axis"], f"{x}.highest", keepdims=1)
        floor = np.float32(_GELU_FLOOR if after_gelu else 1e-12)
        self._node("Max", [highest, self._constant(f"floor{zero}", floor)], names[0])
        shares = self._node("Div", [x, names[0]], f"{x}.shares")
        self._node("QuantizeLinear", [shares, names[2], names[3]], names[1])
        return names

    def _add(self, x: str, bias: str) -> str:
        return self._node("Add", [x, self._constant(bias, self._weights[bias])], f"{bias}.sum")

    def _norm(self, x: str, weight: str, *, name: str = "") -> str:
        gamma, beta = (
            self._constant(f"{weight}.{part}", self._weights[f"{weight}.{part}"])
            for part in ("weight", "bias")
        )
        return self._node(
            "LayerNormalization", [x, gamma, beta], name or f"{weight}.out", axis=-1, epsilon=self._eps
        )

    def _node(self, kind: str, inputs: list[str], name: str, *, domain: str = "", **attributes: Any) -> str:
        from onnx import helper

        self._nodes.append(helper.make_node(kind, inputs, [name], name=name, domain=domain, **attributes))
        self._names.add(name)
        return name

    def _constant(self, name: str, value: npt.ArrayLike) -> str:
        from onnx import numpy_helper

        if name not in self._names:
            self._constants.append(
                numpy_helper.from_array(np.ascontiguousarray(value).reshape(np.shape(value)), name)
            )
            self._names.add(name)
        return name
