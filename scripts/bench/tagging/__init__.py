"""What `tags.py` measures: data sets, models, and the table of results."""
