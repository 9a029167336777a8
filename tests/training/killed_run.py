"""A training run in a process of its own, to be killed: forks one for each line of standard input.

The libraries are imported once, in the parent, which never computes. Arguments: the tiny backbone, the working
folder, the settings as JSON. For each run it prints the child's process number and then how the child ended.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path


def main() -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from safetensors.torch import save_file
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    from embedworks.data import Pairs
    from embedworks.training import TrainingSettings
    from embedworks.training.fit import fit_pairs

    backbone, folder = sys.argv[1], Path(sys.argv[2])
    settings = TrainingSettings(**json.loads(sys.argv[3]))
    torch.set_num_threads(1)
    gc.freeze()
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            transformer = Transformer(backbone)
            modules = [transformer, Pooling(transformer.get_embedding_dimension())]
            model = SentenceTransformer(modules=modules, device="cpu")
            log = fit_pairs(model, Pairs.read(folder / "pairs.parquet"), settings, out=folder / "run")
            save_file(model.state_dict(), folder / "final.safetensors")
            (folder / "log.json").write_text(json.dumps(log.to_dict()))
            os._exit(0)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
