"""ONNX files that would read other files: refused before onnxruntime opens them.

pytest tests/test_onnx_files.py
"""

import numpy as np
import pytest
from encoders import network, onnx, table

from learning import onnx_files


@pytest.mark.redteam
def test_a_tensor_in_a_branch_or_an_attribute_may_not_lie_elsewhere(tmp_path):
    """A graph in an attribute holds tensors, too."""
    model = network(table())
    tensor = onnx.numpy_helper.from_array(np.zeros(2, np.float32), "inner")
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    branch = onnx.helper.make_graph([], "branch", [], [], [tensor])
    model.graph.node.append(onnx.helper.make_node("If", ["x"], ["y"], then_branch=branch))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match="other files"):
        onnx_files.check_file(tmp_path / "m.onnx")
    del model.graph.node[-1]
    model.graph.node.append(onnx.helper.make_node("Constant", [], ["y"], value=tensor))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match="other files"):
        onnx_files.check_file(tmp_path / "m.onnx")


MESSAGES = {  # the messages of onnx.proto that lead to tensors, as onnx_files calls them
    "ModelProto": "model",
    "TrainingInfoProto": "training",
    "FunctionProto": "function",
    "GraphProto": "graph",
    "SparseTensorProto": "sparse",
    "NodeProto": "node",
    "AttributeProto": "attribute",
    "TensorProto": "tensor",
}


def test_each_field_of_the_format_that_leads_to_a_tensor_is_followed():
    """By the description of the format that onnx itself has."""
    wanted, left, seen = {}, [onnx.ModelProto.DESCRIPTOR], {"ModelProto"}
    while left:
        message = left.pop()
        for field in message.fields:
            within = field.message_type
            if within is not None and within.name not in seen:
                seen.add(within.name)
                left.append(within)
            if within is not None and within.name in MESSAGES:
                fields = wanted.setdefault(MESSAGES[message.name], {})
                fields[field.number] = MESSAGES[within.name]
    assert onnx_files.HOLDS == wanted


def varint(number):
    low = bytes([number & 127])
    return low if number < 128 else bytes([low[0] | 128]) + varint(number >> 7)


@pytest.mark.redteam
@pytest.mark.parametrize("field", (onnx_files.EXTERNAL_DATA, onnx_files.DATA_LOCATION))
def test_no_field_hides_behind_a_number_that_is_too_large(tmp_path, field):
    """Protocol Buffers read the last 32 bits of a field's number, as if no others were there."""
    said = [varint(number + (1 << 32)) for number in (field << 3 | 2, field << 3)]
    tensor = said[0] + b"\1x" if field == onnx_files.EXTERNAL_DATA else said[1] + b"\1"
    graph = b"\x2a" + varint(len(tensor)) + tensor
    (tmp_path / "m.onnx").write_bytes(b"\x3a" + varint(len(graph)) + graph)
    with pytest.raises(ValueError, match="damaged"):
        onnx_files.check_file(tmp_path / "m.onnx")
