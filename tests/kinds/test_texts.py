from electra_tf.kinds import columns, texts

NAMES = columns.Columns({})


def test_a_text_is_read_shown_and_asked():
    this = texts.OfTexts()
    assert this.example(NAMES, {"text": "a", "text_pair": "b"}) == "a"
    assert this.show("a") == {"text": "a"}
    assert this.request("a\ud83d") == {"text": "a?"}


def test_a_pair_is_one_where_there_is_a_second_text():
    this = texts.OfTextsOrPairs()
    assert this.example(NAMES, {"text": "a"}) == "a"
    assert this.example(NAMES, {"text": "a", "text_pair": ""}) == ("a", "")
    renamed = columns.Columns({"text_pair_column": "reply"})
    assert renamed.is_given("text_pair")
    assert this.example(renamed, {"text": "a", "reply": "b"}) == ("a", "b")
    # A text of its own is no pair, whatever the options say of files.
    assert this.example(renamed, {"text": "a"}) == "a"
    assert this.show(("a", "b")) == {"text": "a", "text_pair": "b"}
    assert this.show("a") == {"text": "a"}
    assert this.request(("a", "b")) == {"text": "a", "text_pair": "b"}
