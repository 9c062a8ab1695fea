import masked_rows
import numpy as np
import tensorflow as tf

from electra_tf.objectives import corruption


def test_a_masked_language_model_learns_from_the_hidden_tokens_alone():
    mlm = masked_rows.build("mlm", mlm_weight=3.0)
    assert list(mlm.networks) == ["generator"]
    assert mlm.declared.networks["generator"].config == masked_rows.MODEL  # BERT
    assert masked_rows.weights_of(mlm) == {"mlm": 3.0}
    assert float(mlm.counts(masked_rows.BATCH)["mlm"]) == 4
    sums, metrics = mlm.sums(masked_rows.BATCH, False, 0.0)
    logits = masked_rows.guess(mlm)
    assert sums.keys() == {"mlm"}
    np.testing.assert_allclose(sums["mlm"], masked_rows.minus_log_p(logits), rtol=1e-5)
    assert metrics.keys() == mlm.declared.sums.keys() == {"mlm_correct"}
    sampled = corruption.sample(
        tf.constant(logits, tf.float32), masked_rows.BATCH["sampling_noise"]
    )
    np.testing.assert_array_equal(mlm.verdicts(masked_rows.BATCH)["sampled"], sampled)
