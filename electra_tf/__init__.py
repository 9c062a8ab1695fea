"""ELECTRA in TensorFlow and Keras 3: raw text becomes a generator and a discriminator.

The modules, in the order of the data; each imports only what stands above it (BUILD):

settings                       errors, config
text -> records                tokenizer, corpus, records, data_builder
records -> masked batches      packing, masking, input_pipeline
masked batches -> losses       layers, models, corruption, losses, objectives
losses -> checkpoints          optimizer, pretrainer, distribution, checkpoint,
                               reporting, training_loop
checkpoints -> presets         preset
the whole run                  report_page, workdir, pretraining
commands                       cli, then build_data, pretrain, report

What is handed over from one to the next stands in docs/architecture.md. This file
imports nothing, so that a command pays only for what it uses.
"""

__version__ = "0.1.0"
