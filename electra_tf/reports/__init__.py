"""What a run says while it goes on, and after it.

In:   metrics, held-out rows; workdirs.
Out:  lines on the console, metrics.jsonl, TensorBoard, report.html.

progress     progress, metrics.jsonl, TensorBoard, held-out rows
report_page  runs -> one HTML page
"""
