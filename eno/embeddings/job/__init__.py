"""The job that fills an embedding store from a folder of audio."""

from eno.embeddings.job.embed import embed_folder as embed_folder
