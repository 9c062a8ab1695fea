"""The data sets that tasks are trained on: files become examples.

In:   files of GLUE, SQuAD, CoNLL, or tables of your own.
Out:  examples of a kind of task, and the metrics of their data set.

metrics          accuracy to SQuAD's and CoNLL's official rules
text_metrics     BLEU, chrF and ROUGE of texts that were written
dataset          what a task's data is, whatever the file
files            finds and reads files
literals         lists as programs print them -> lists
tables           TSV, CSV, JSON and Parquet -> cells
glue             GLUE's tasks, files and submissions
squad            SQuAD 1.1 and 2.0, MRQA
conll            words and tags in columns
tabular          your own tables, by their columns' names
table_texts      tables of texts with classes or numbers
table_pairs      tables of texts that belong together, or are alike
table_labels     tables of texts with several classes each
table_words      tables of words with tags
table_targets    tables of texts and what becomes of them
table_choices    tables of prompts with choices
table_questions  tables of questions with answers
extracts         chosen sentences and what was right -> numbers
table_extracts   tables of documents with marked sentences
"""
