"""Albums collected by Lute, imported from any of its formats."""
