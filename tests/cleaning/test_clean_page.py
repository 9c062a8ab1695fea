"""The page of a cleaned corpus."""

import numpy as np

from electra_tf.cleaning import clean_page


def test_the_page_shows_both_ends():
    ends = clean_page.Ends(2)
    for value in (3.0, 1.0, 2.0, 5.0, 4.0):
        ends.add(clean_page.Shown(value, str(value), True))
    assert [one.value for one in ends.low()] == [1.0, 2.0]
    assert [one.value for one in ends.high()] == [5.0, 4.0]


def test_the_page_tells_where_the_bound_is_and_escapes_texts():
    ends = clean_page.Ends(1)
    ends.add(clean_page.Shown(1.5, "<b>" + "x" * 400, False))
    values = np.linspace(0, 10, 101, dtype=np.float64)
    page = clean_page.render("A & B", {"kept": "1 < 2"}, values, 5.0, "nats", ends)
    assert page.count('class="bar over"') == 30
    assert "<b>x" not in page
    assert "&lt;b&gt;xxx" in page
    assert "A &amp; B" in page
    none = clean_page.render("A", {}, values[:0], 5.0, "nats", clean_page.Ends(0))
    assert "Distribution" not in none
