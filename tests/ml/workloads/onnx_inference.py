"""ONNX runtime: a graph with an external-data file, mapped and run on a thread
pool, against numpy."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import contract


def main():
    rng = np.random.default_rng(7)
    w = rng.normal(size=(256, 512)).astype(np.float32)
    v = rng.normal(size=(512, 10)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["hidden"]),
            helper.make_node("Relu", ["hidden"], ["active"]),
            helper.make_node("MatMul", ["active", "v"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["y"], axis=-1),
        ],
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 256])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])],
        [numpy_helper.from_array(w, "w"), numpy_helper.from_array(v, "v")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path = contract.outputs() / "mlp.onnx"
    onnx.save_model(model, path, save_as_external_data=True, location="mlp.data", size_threshold=0)

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    x = rng.normal(size=(64, 256)).astype(np.float32)
    for _ in range(50):
        (y,) = session.run(None, {"x": x})
    logits = np.maximum(x @ w, 0) @ v
    expected = np.exp(logits - logits.max(-1, keepdims=True))
    expected /= expected.sum(-1, keepdims=True)
    contract.expect(np.allclose(y, expected, atol=1e-4), "ONNX runtime and numpy differ")
    contract.result(classes=int(len(np.unique(y.argmax(-1)))))


if __name__ == "__main__":
    main()
