"""One kind of folder becomes another.

In:   presets, workdirs, other people's weights.
Out:  presets, Hugging Face's and KerasHub's directories, SavedModels, ONNX, TF Lite.

converter  weights of one kind -> weights of another
portable   a network -> one file: TensorFlow Lite, ONNX
exporter   a preset -> a folder for TensorFlow Serving
"""
