"""The exploration report: tables for the terminal, and one HTML file with pictures."""
