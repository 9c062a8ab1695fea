import types

from electra_tf.kinds import regression

KIND = regression.KIND


def test_a_head_stays_where_numbers_are_of_the_same_range():
    def keeps(offset, scale):
        model = types.SimpleNamespace(offset=offset, scale=scale)
        return KIND.keeps_head(model, (), [1.0, 3.0])  # mean 2, deviation 1

    assert keeps(2.0, 1.0)
    assert keeps(3.0, 1.0)
    assert not keeps(3.5, 1.0)
    assert not keeps(2.0, 2.5)
    assert not keeps(2.0, 0.4)
    assert not keeps(None, None)


def test_the_farthest_off_is_the_worst():
    assert KIND.judge({"gold": 1.0, "value": 1.0}) is None
    assert KIND.judge({"gold": 5.0, "value": -1.0}) == (6.0, "-1.000, right: 5")


def test_the_mean_is_guessed():
    dev = types.SimpleNamespace(ids=["1", "2", "3"])
    assert KIND.guess([1.0, 4.0], dev) == [2.5] * 3


def test_numbers_are_read_of_tables_and_of_glue():
    assert KIND.readers.keys() == {"sts-b", "text_regression"}
