import masked_rows
import numpy as np

from electra_tf.objectives import places


def test_a_hidden_position_is_one_whatever_stands_there():
    hidden = np.asarray(places.hidden(masked_rows.BATCH))
    want = np.zeros([2, 7], bool)
    for row, position, _ in masked_rows.HIDDEN:
        want[row, position] = True
    np.testing.assert_array_equal(hidden, want)


def test_every_place_is_as_many_as_a_row_is_long():
    found = np.asarray(places.every_place(masked_rows.BATCH))
    np.testing.assert_array_equal(found, [[*range(7)]] * 2)
