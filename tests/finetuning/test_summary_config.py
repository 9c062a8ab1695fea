import inspect

import pytest

from electra_tf import config, errors
from electra_tf.finetuning import summary_config
from electra_tf.tasks import summarizer


def test_the_settings_are_the_arguments_of_the_class_with_its_defaults():
    settings = summary_config.SummarizeConfig()
    values = settings.model.model_dump() | settings.summary.model_dump()
    arguments = inspect.signature(summarizer.ElectraSummarizer.__init__).parameters
    known = {
        name: one.default
        for name, one in arguments.items()
        if one.kind is one.KEYWORD_ONLY
    }
    assert values == {"sequence_length": None, **known}


def test_what_makes_no_sense_is_refused():
    with pytest.raises(errors.UserError, match=r"summary\.min_tokens"):
        config.check(
            summary_config.SummarizeConfig, {"summary": {"min_tokens": -1}}, "it"
        )
    with pytest.raises(errors.UserError, match=r"model\.pooling"):
        config.check(
            summary_config.SummarizeConfig, {"model": {"pooling": "median"}}, "it"
        )
