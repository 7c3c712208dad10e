"""The job that embeds audio folders into a store."""

from eno.embeddings.job.embed import embed_folder as embed_folder
