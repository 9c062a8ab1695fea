"""What looks like a Hugging Face directory."""

import golden

from electra_tf.weights import hugging_face, preset_writer


def test_only_what_transformers_wrote_looks_like_it(copy, networks, vocab, tmp_path):
    assert hugging_face.is_directory(str(copy("encoder")))
    assert not hugging_face.is_directory(str(tmp_path / "nothing"))
    assert not hugging_face.is_directory(str(tmp_path))
    ours = str(tmp_path / "preset")
    preset_writer.save(ours, networks, golden.CONFIGS, vocab, golden.RULES, {})
    assert not hugging_face.is_directory(ours)


def test_only_weights_in_the_form_that_is_read_are_weights(tmp_path):
    assert hugging_face.has_weights(str(golden.GOLDEN / "encoder"))
    (tmp_path / "generator").mkdir()
    (tmp_path / "pytorch_model.bin").write_text("")
    assert not hugging_face.has_weights(str(tmp_path))
    assert hugging_face.is_directory(str(tmp_path))
    (tmp_path / "generator/model.safetensors.index.json").write_text("")
    assert hugging_face.has_weights(str(tmp_path))
