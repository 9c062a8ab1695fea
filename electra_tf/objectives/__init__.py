"""What is learned: masked batches become losses and metrics.

In:   a masked batch, the settings.
Out:  networks; sums of losses with their counts; sums that metrics are made of.

corruption  samples from the generator, and what they replace
losses      sums and counts
registry    what is learned: ELECTRA, or a masked language model
"""
