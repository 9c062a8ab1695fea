"""The fine-tuning API: presets become models of tasks.

In:   a preset of any kind; texts, words, questions, choices.
Out:  classes that train, predict, save themselves, and export a graph to serve.

backbone                 the encoder as a KerasHub backbone
graph_tokenizer          WordPiece in a TensorFlow graph
graph_detokenizer        ids -> text, in a TensorFlow graph
tokenizer                WordPiece as a KerasHub tokenizer
keras_hub_electra        KerasHub's own ELECTRA and its tokenizer
keras_hub_presets        opens KerasHub's directories, and weights of any kind
keras_hub_writer         writes KerasHub's directories
columns                  what people hold values in -> lists
labels                   labels of any form -> class numbers, vectors, weights
inputs                   texts -> rows -> batches of like length
preprocessor             strings -> rows, as a KerasHub preprocessor
graph                    texts -> rows, and back, in a TensorFlow graph
streams                  batches of strings in a pipeline -> batches of like length
graph_spans              contexts -> their best spans, in a graph
heads                    what stands on the encoder
recipe                   the paper's way to fine-tune: rates, schedule, AdamW
starting                 a task starts from weights of any kind, and is saved
batching                 what `fit` is given -> batches
predicting               inputs -> answers; loss and metrics of labelled ones
fitting                  compile and fit: the paper's way, or yours
exporting                a task -> a model that a server runs
task                     what a task says; it has all these parts
nearest                  vectors -> the nearest of each
contrast                 texts that belong together -> the loss of their vectors
label_sets               several classes of one text: vectors, thresholds, F1
text_classifier          texts or pairs -> classes
text_regressor           texts or pairs -> numbers
text_embedder            texts -> vectors
sentence_vectors         sentences -> vectors, alone or within their document
clusters                 vectors -> groups of like sentences, and their words
token_classifier         words -> tags
replaced_token_detector  the discriminator: what was replaced
sentence_classifier      documents -> how much of each its sentences tell
masked_lm                the generator: fills in the blank
scorer                   texts -> how likely they and their tokens are
span_heads               what question answering puts on the encoder
contexts                 contexts, their windows, the spans that may answer
questions                questions and answers of any form -> pairs, spans
question_answerer        question and context -> answers
multiple_choice          prompt and choices -> one of them
pairs                    sources and targets -> batches of packed rows
seq2seq_preprocessor     the same, as a KerasHub preprocessor; answers -> texts
next_token               loss and perplexity of the tokens that come next
encoder_decoder          an encoder's layers and those of a decoder, in one model
searching                how answers are looked for; beams
generation               a decoder writes: greedily, by chance, with beams
writing                  sources -> answers
graph_writing            sources -> answers, in a TensorFlow graph
releasing                a decoder for transformers, and for a server
seq2seq                  texts -> other texts: encoder and decoder
catalog                  every task by its name; opens fine-tuned presets
summarizer               texts -> some of their sentences
"""
