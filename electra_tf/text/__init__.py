"""Text becomes records on disk. Nothing of TensorFlow is loaded to write them.

In:   a corpus: files and folders of text, JSON Lines, Parquet, compressed or not.
Out:  a data folder: shards of tokenized documents, `manifest.json`, `vocab.txt`.

vocabularies   vocab.txt -> tokens in the order of their ids
tokenizer      WordPiece: turns text into ids
detokenizer    ids -> text, with blanks where people write them
sentences      a text of any language -> its sentences
corpus_files   folders, names, patterns -> files, by what they hold
corpus         files of every kind -> documents of sentences
segmented      blanks mark words -> tokens that continue one
records        tokenized documents, and the shards that hold them
manifests      what a data folder holds, and what it was made of
record_reader  reads them back, and the 2020 code's
vocab_trainer  learns a vocabulary
text_loss      what tokenization loses of a text, and why
data_builder   a corpus -> a folder of records, on all cores
"""
