"""Text that a pre-trained network finds odd is found, dropped or marked.

In:   a preset; the corpus that `build_data` reads.
Out:  a folder: a score of every line, the text that is kept, what is dropped with its
      reason, a page.

clean_config  the settings
oddness       lines -> how odd each is
scores        the scores of a corpus on disk, in its order
selection     scores -> what is kept
clean_page    how the scores are distributed -> one HTML page
cleaner       the whole run
"""
