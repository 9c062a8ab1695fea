"""Kinds of tasks: all that the commands ask of one, in a module each.

In:   rows of files, labelled data, what a model or a server says.
Out:  examples, heads, answers in JSON, scores, guesses, what a page shows.

A new kind is an object of a class of `kind` in a module of its own, and a line in
`registry`; its model is a class of `tasks`, its files are read by a function as those
of `datasets`. None of it loads TensorFlow, as its model's class is named and not
imported.

columns             cells of a row, by the names that options give them
kind                what a kind says of itself
texts               examples that are texts, or pairs of them
classification      texts -> one class per text
multi_label         texts -> several classes, one or none each
regression          texts -> numbers
tagging             words -> tags
question_answering  questions about texts -> spans of these
multiple_choice     prompts and choices -> the right one
seq2seq             texts -> other texts: translations, summaries
extraction          sentences -> those that tell most of their document
embedding           texts -> vectors
pairs               texts that belong together -> cosines, ranks
scoring             what pre-training left: how likely texts and their tokens are
replaced_tokens     what pre-training left: which tokens were replaced
masked_words        what pre-training left: what stands at each [MASK]
registry            every kind by its name, and the task that each file is of
"""
