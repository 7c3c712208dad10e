"""The HTTP service with its web page (`app.py`). What ClearML Serving runs is `eno.tracking.clearml_serving`."""
