"""What may be asked of a search, and what must not come next."""

import numpy as np
import pytest
import tensorflow as tf

from electra_tf import errors
from electra_tf.tasks import searching


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_beams": 0}, "num_beams=0: want 1 or more"),
        ({"num_best": 2}, "num_best=2: the likeliest token is one; give num_beams"),
        ({"num_beams": 2, "num_best": 3}, "num_best=3 of num_beams=2"),
        ({"no_repeat_ngram_size": -1}, "no_repeat_ngram_size=-1: want 0 or more"),
        ({"length_penalty": "long"}, "length_penalty='long': want a number"),
    ],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(errors.UserError, match=message):
        searching.check(searching.Search(**options), draws=False)


def test_a_run_that_was_there_is_not_ended_again():
    # After 5 6 comes no 7 a second time; what is not written yet bans nothing.
    tokens = tf.constant([[[2, 5, 6, 7, 5, 6, 6, 4]], [[2, 5, 6, 5, 6, 5, 7, 7]]])
    search = searching.Search(no_repeat_ngram_size=3)
    found = searching.ban(tf.zeros([2, 9]), tf.constant(5), tokens, search).numpy()
    banned = np.argwhere(found < searching.NEVER / 2).tolist()
    assert banned == [[0, 7], [1, 6]]
