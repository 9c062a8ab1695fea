"""A model becomes a SavedModel that TensorFlow Serving loads.

In:   functions in a TensorFlow graph, with their weights.
Out:  a versioned folder: signatures, labels, warm-up requests.

stored_weights  small in files, float32 when loaded
saved_model     signatures -> a folder that TensorFlow Serving loads
"""
