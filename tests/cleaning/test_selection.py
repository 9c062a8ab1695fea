"""Scores decide what is kept."""

from electra_tf.cleaning import clean_config, oddness, selection


def test_the_bound_drops_the_share_that_is_asked_for():
    lines = [[oddness.Line(9, value, None)] for value in range(100)]
    for rate, count in ((0.0, 0), (0.05, 5), (0.5, 50), (1.0, 99)):
        select = clean_config.SelectConfig(drop_rate=rate)
        most = selection.bound(selection.values_of(lines, select), select)
        said = [selection.decide(one, most, select)[0].keep for one in lines]
        assert said.count(False) == count


def test_a_document_counts_its_lines_by_their_tokens():
    found = selection.whole([oddness.Line(1, 4.0, 1.0), oddness.Line(3, 0.0, 0.0)])
    assert found == oddness.Line(4, 1.0, 0.25)
    assert selection.whole([oddness.Line(0, 0.0, None)]) == oddness.Line(0, 0.0, None)
