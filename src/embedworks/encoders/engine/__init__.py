"""The encode engine: many texts through a sentence-transformers model, fast, in bounded memory, resumable.

Comes in: a model and texts. Goes out: float32 vectors, in memory or in a ``.npy`` file, and a report of the run.
Start reading at ``engine``; ``windows`` says what is held in memory, ``journal`` what survives a kill.
"""

from embedworks.encoders.engine.engine import encode_texts, encode_to_file
from embedworks.encoders.engine.precision import native_bfloat16
from embedworks.encoders.engine.report import EncodeReport, Overflow, Precision

__all__ = ["EncodeReport", "Overflow", "Precision", "encode_texts", "encode_to_file", "native_bfloat16"]
