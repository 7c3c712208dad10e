"""The embedding store and the job that fills it."""
