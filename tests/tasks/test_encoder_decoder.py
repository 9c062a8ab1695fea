"""The layers of an encoder, called for sources that share a row."""

import decoding
import numpy as np
import pytest

from electra_tf.tasks import encoder_decoder


@pytest.mark.parametrize(
    ("layers", "count", "wanted"),
    [(5, 5, range(5)), (12, 3, (0, 6, 11)), (4, 1, (3,)), (1, 1, (0,))],
)
def test_blocks_come_from_places_that_lie_evenly(
    layers, count, wanted, tiny_model_config
):
    model = tiny_model_config.model_copy(update={"num_layers": layers})
    found = encoder_decoder.origins(model, count)
    assert found == [f"layer_{place}" for place in wanted]


def test_a_source_alone_has_the_states_that_the_backbone_gives_it():
    model = decoding.build()
    ids = np.int32([[2, 9, 5, 3, 0], [2, 6, 7, 8, 3]])
    mask = np.int32([[1, 1, 1, 1, 0], [1] * 5])
    rows = {"encoder_token_ids": ids, "encoder_padding_mask": mask}
    found = np.asarray(encoder_decoder.encode(model.backbone, rows))
    given = {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": mask}
    wanted = np.asarray(model.backbone(given)["sequence_output"])
    np.testing.assert_allclose(found[mask == 1], wanted[mask == 1], atol=1e-5)
