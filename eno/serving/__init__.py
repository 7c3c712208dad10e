"""Tags and neighbours for others: over HTTP with a page (`app.py`), and as what ClearML Serving runs."""
