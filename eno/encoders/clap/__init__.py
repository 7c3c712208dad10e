"""CLAP: audio and text in one embedding space, from transformers and laion_clap checkpoints."""
