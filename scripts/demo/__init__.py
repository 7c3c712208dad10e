"""A demo corpus that anyone can build: real scores rendered to audio, with correct labels."""

from scripts.demo.corpus import CORPUS_VERSION, CorpusSummary, build_corpus

__all__ = ["CORPUS_VERSION", "CorpusSummary", "build_corpus"]
