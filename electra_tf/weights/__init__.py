"""Networks go to folders and come back: ours and other people's.

In:   networks; presets, checkpoints of the 2020 code, Hugging Face's directories.
Out:  presets that load anywhere; networks with the weights that were found.

model_card              what is known of a model -> README.md
preset_writer           config, vocabulary and weights -> a folder, whole or not at all
preset                  such a folder -> networks
weight_map              every variable's name: ours, TF1's, Hugging Face's, KerasHub's
google_configuration    what stands beside the 2020 code's checkpoints
google_checkpoint       opens those
hugging_face            what a Hugging Face directory consists of
hugging_face_config     its config.json -> an architecture
hugging_face_bert       BERT's names of arrays: ELECTRA's
hugging_face_arrays     its weights, an array at a time
hugging_face_tokenizer  its tokenizer's files, read and written
hugging_face_vectors    how sentence-transformers makes vectors, read and written
hugging_face_pairs      an encoder and a decoder: EncoderDecoderModel's names
hugging_face_reader     opens it
hugging_face_writer     writes one
opening                 opens weights, whoever wrote them
"""
