"""The fine-tuning API: Keras models in KerasHub's style, one file a task."""
