"""What a run says while it goes on, and after it.

In:   metrics, held-out rows; workdirs.
Out:  lines on the console, metrics.jsonl, TensorBoard, report.html.

progress     progress, metrics.jsonl, TensorBoard
sample_rows  held-out rows as text
report_page  runs -> one HTML page
"""
