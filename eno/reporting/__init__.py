"""HTML reports: pages (Jinja2) and charts (matplotlib)."""
