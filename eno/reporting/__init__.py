"""HTML reports: pages made with Jinja2 (`page.py`), charts made with matplotlib (`plotting.py`)."""
