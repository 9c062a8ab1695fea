"""Files of a task become examples with labels: one module a format.

registry   a task's name and a folder -> a Dataset: start here
dataset    what a Dataset, a Split and their examples are
files      finding and reading files; rows that cannot be read
glue       the GLUE tasks in their own TSV files, and their submissions
squad      SQuAD 1.1 and 2.0 JSON, MRQA JSON lines
conll      a word and its tag a line
literals   a list as Python, numpy or pandas print it -> the list
tables     TSV, CSV, JSON and Parquet -> rows and cells
tabular    your own tables, by the names of their columns
"""
