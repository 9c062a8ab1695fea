"""Records become packed, masked batches. This room does not know the model.

In:   the shards of a data folder.
Out:  batches as `tf.data` yields them, the same again from a saved position.

packing   documents -> examples -> rows of L tokens
masking   hides tokens for the generator to guess
pipeline  shards -> shuffled, packed, masked batches; resumable
"""
