from electra_tf.kinds import masked_words


def test_a_servers_answer_is_that_of_python():
    said = {
        "tokens": [["a", "b"], ["", ""]],
        "probabilities": [[0.75, 0.25], [0.0, 0.0]],
        "num_blanks": 1,
    }
    assert masked_words.KIND.response(said, "[MASK]") == {
        "blanks": [
            [{"token": "a", "probability": 0.75}, {"token": "b", "probability": 0.25}]
        ]
    }
