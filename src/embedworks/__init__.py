"""embedworks learns, compresses, searches, judges and explains embeddings."""

__version__ = "0.1.0"
