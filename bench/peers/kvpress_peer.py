"""kvpress behind lines of JSON: {"press", "ids", "ratio", "decoded"} in, {"seconds"} out."""
import json
import sys
import time

import kvpress
import torch
import transformers
from kvpress import AdaKVPress, SnapKVPress
from transformers import AutoModelForCausalLM, DynamicCache

folder, threads = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(threads)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").eval()
out = sys.stdout
version = getattr(kvpress, "__version__", "0.5.5")
out.write(json.dumps({"description": f"kvpress {version}, torch {torch.__version__}, transformers {transformers.__version__}, {threads} threads"}) + "\n")
out.flush()


def press_of(name, ratio):
    if name == "snap-kv":
        return SnapKVPress(compression_ratio=1 - ratio)
    return AdaKVPress(SnapKVPress(compression_ratio=1 - ratio))


@torch.no_grad()
def run(press, ids, ratio, decoded):
    ids = torch.tensor([ids])
    cache = DynamicCache()
    start = time.perf_counter()
    with press_of(press, ratio)(model):
        logits = model(ids, past_key_values=cache, logits_to_keep=1).logits
    position = ids.shape[1]
    for _ in range(decoded):
        token = logits[:, -1:].argmax(-1)
        where = torch.tensor([[position]])
        logits = model(token, past_key_values=cache, position_ids=where, logits_to_keep=1).logits
        position += 1
    return time.perf_counter() - start


for line in sys.stdin:
    request = json.loads(line)
    out.write(json.dumps({"seconds": run(**request)}) + "\n")
    out.flush()
