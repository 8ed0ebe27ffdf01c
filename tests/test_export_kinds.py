"""Every kind of generator and every option against JAX: as ONNX with onnxruntime, and as the page draws, in Node.

tests/test_export.py has the whole way, in a process without t2igan.
"""

import base64
import json

import jax
import numpy as np
import pytest
from exported import KINDS, NODE, random_model, run_node

from t2igan.errors import UserError
from t2igan.inference.drawing import noise, to_bytes
from t2igan.inference.export import check, onnx_files, onnx_networks, web_page
from t2igan.inference.export.graph import Graph
from t2igan.inference.export.int8 import int8_levels
from t2igan.inference.export.source import source_of

onnxruntime = pytest.importorskip("onnxruntime")

CAPTIONS = ["a red square on blue", "a green square", "blue", "an <end> that is text"]


def session(model):
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    """A model as it is exported, and what JAX draws of its captions and seeds, by guidance."""
    source = source_of(random_model(CAPTIONS, **KINDS[request.param]), request.param, CAPTIONS)
    guided = {guidance: source.floats(guidance) for guidance in (2.5, 0.0)} if source.guided else {}
    return source, {1.0: source.floats()} | guided


def test_a_model_of_any_kind_draws_the_same(kind):
    """From noise and from seeds; from whole rows of ids and from rows cut to their longest; guided and not."""
    source, drawn = kind
    target, expected = check.TARGETS["float32"], drawn[1.0]
    tokens, z = source.tokens().astype(np.int64), source.noise()
    assert 0.05 < np.abs(expected).mean() < 3 and np.abs(expected).max() < 30
    assert len({image.tobytes() for image in expected.round(2)}) == 64  # neither seeds nor captions are without effect
    one = {"guidance": np.array(1, np.float32)} if source.guided else {}
    from_noise = session(onnx_files.build(source, False, opset=17))
    (found,) = from_noise.run(None, {"tokens": tokens, "z": z} | one)
    check.compare_floats("from noise", found, expected, target)
    (alone,) = from_noise.run(None, {"tokens": tokens[5:6], "z": z[5:6]} | one)
    check.compare_floats("one alone", alone, expected[5:6], target)
    for guidance in drawn.keys() - {1.0}:
        (found,) = from_noise.run(None, {"tokens": tokens, "z": z, "guidance": np.array(guidance, np.float32)})
        check.compare_floats(f"guidance {guidance}", found, drawn[guidance], target)
        assert np.abs(drawn[guidance] - expected).max() > 0.01
    longest = (tokens != 0).sum(1).max()
    seeds = {"seeds": np.array(source.seeds, np.int64), "truncation": np.array(1, np.float32)}
    from_seeds = session(onnx_files.build(source, True))
    (images,) = from_seeds.run(None, {"tokens": tokens[:, :longest]} | seeds | one)
    check.compare_bytes("from seeds", images, np.asarray(to_bytes(jax.numpy.asarray(expected))), target)
    assert longest < tokens.shape[1]


@pytest.mark.skipif(NODE is None, reason="Node is not there")
def test_a_page_of_any_kind_draws_the_same(kind, tmp_path):
    source, drawn = kind
    packed = base64.b64encode(web_page.packed(source, "float32")).decode()
    for guidance, expected in drawn.items():
        found = run_node(_DRAW, tmp_path, data=packed, captions=source.captions, seeds=source.seeds, guidance=guidance)
        floats = np.frombuffer(found, np.float32).reshape(expected.shape)
        check.compare_floats(f"the page, guidance {guidance}", floats, expected, check.TARGETS["float32"])


_DRAW = """
const model = await openModel(given.data, (await bestMaths()).maths);
save(...given.captions.map((caption, i) => {
  const z = noise(given.seeds[i], model.about.z_dim);
  return model.networks.draw(z, model.networks.encode(model.tokenizer.encode(caption)), given.guidance).data;
}));
"""


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_small_weights_draw_nearly_the_same(dtype):
    source = source_of(random_model(CAPTIONS), "tiny", CAPTIONS)
    whole, small = (onnx_files.build(source, False, d, 17).SerializeToString() for d in ("float32", dtype))
    assert len(small) < len(whole) * 0.9
    given = {"tokens": source.tokens().astype(np.int64), "z": source.noise()}
    a, b = (onnxruntime.InferenceSession(m).run(None, given)[0] for m in (whole, small))
    assert 0 < np.abs(a - b).mean() < (0.005 if dtype == "float16" else 0.05)


def test_the_noise_of_a_seed_is_that_of_jax():
    """Over the whole range of seeds, and with tails of the normal distribution."""
    from t2igan.inference.export.onnx_noise import write_noise

    g = Graph()
    z = write_noise(g, g.input("seeds", np.int64, ["N"]), 1_500)
    seeds = np.array([0, 1, 2, 255, 65_536, 2**31 - 1, 2**31, 2**32 - 1], np.uint32)
    (found,) = session(g.model(z, np.float32, ["N", 1_500], 18, {})).run(None, {"seeds": seeds.astype(np.int64)})
    expected = np.asarray(noise(jax.numpy.asarray(seeds), 1_500))
    assert np.abs(expected).max() > 3.5
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


def test_int8_has_a_scale_a_channel():
    array = np.array([[1.0, 100.0], [-2.0, 50.0], [0.0, 0.0]], np.float32)
    levels, scale = int8_levels(array, 1)
    assert levels.tolist() == [[64, 127], [-127, 64], [0, 0]] and scale.shape == (1, 2)
    levels, scale = int8_levels(array, 0)
    assert levels.tolist() == [[1, 127], [-5, 127], [0, 0]] and scale[2] == 1  # a channel of zeros


def test_metadata_have_what_a_program_needs(kind):
    source, _ = kind
    model = onnx_files.build(source, True)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    about = json.loads(metadata["t2igan"])
    assert about["z_dim"] == 4 and about["guidance"] == source.guided and about["max_tokens"] == 16
    assert json.loads(metadata["tokenizer"])["model"]["type"] == "BPE"
    shape = [d.dim_param or d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim]
    assert shape == ["N", 16, 16, about["channels"]]
    names = [value.name for value in model.graph.input]
    assert names == ["tokens", "seeds", "truncation"] + ["guidance"] * source.guided


def test_a_network_without_a_writer_is_named():
    with pytest.raises(UserError, match=r"Drawn has no ONNX form.*--format=stablehlo"):
        onnx_networks.writer_of(type("Drawn", (), {})(), onnx_networks.GENERATOR_WRITERS)
