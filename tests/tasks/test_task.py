"""What a task has to say so that all its parts work."""

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from classifying import TEXTS

from electra_tf.tasks import task

LENGTHS = [float(len(text.split())) for text in TEXTS]


@keras.saving.register_keras_serializable(package="tests")
class Lengths(task.ElectraTask, keras_hub.models.Task):
    """Tells how many words a text has."""

    def __init__(self, backbone, preprocessor=None, **kwargs):
        self.backbone, self.preprocessor = backbone, preprocessor
        head = keras.layers.Dense(1, name="length_head")
        super().__init__(
            inputs=backbone.input, outputs=head(backbone.first_state), **kwargs
        )

    def targets(self, y, rows):
        return np.array(y, np.float32)[rows.source, None]

    def default_loss(self):
        return keras.losses.MeanSquaredError()


def test_a_task_of_your_own_says_what_labels_become_and_its_loss(
    tiny_backbone, tiny_preprocessor, tmp_path
):
    model = Lengths(tiny_backbone, tiny_preprocessor)
    model.compile(learning_rate=1e-2)
    start = model.evaluate(TEXTS, LENGTHS, verbose=0)
    model.fit(TEXTS, LENGTHS, batch_size=4, epochs=5, verbose=0)
    assert model.evaluate(TEXTS, LENGTHS, verbose=0) < 0.5 * start
    data = tf.data.Dataset.from_tensor_slices((TEXTS, LENGTHS)).batch(4)
    found = model.predict(TEXTS)
    np.testing.assert_allclose(model.predict(data), found, atol=1e-5)
    model.save_to_preset(str(tmp_path))
    again = Lengths.from_preset(str(tmp_path))
    np.testing.assert_allclose(again.predict(TEXTS), found, atol=1e-5)
    assert model.class_labels() is None
    assert not model.fits_hugging_face()
    # What it does not say is missed where it is needed.
    with pytest.raises(NotImplementedError):
        model.signatures()
