// llama.cpp through node-llama-cpp, on the same f32 weights. Installed into bench/peers on demand.
import { execSync } from "node:child_process";
import { existsSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { writeGguf } from "./gguf.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));

/** Loads the peer; returns { version, open({ flashAttention, kvType, contextSize }) }. */
export async function loadPeer(modelFolder, { threads, log }) {
  if (!existsSync(join(here, "node_modules/node-llama-cpp"))) {
    log("installing node-llama-cpp into bench/peers (once) …");
    execSync("npm install --ignore-scripts --no-audit --no-fund --loglevel=error", {
      cwd: here,
      stdio: "inherit",
    });
  }
  const { getLlama } = await import("node-llama-cpp");
  const llama = await getLlama({
    gpu: false,
    build: "never",
    skipDownload: true,
    logLevel: "error",
    maxThreads: threads,
  });
  const modelPath = join(mkdtempSync(join(tmpdir(), "kvcache-gguf-")), "model.gguf");
  writeGguf(modelFolder, modelPath);
  const model = await llama.loadModel({ modelPath });

  /** One context: prefill(ids) and decode(ids), each in seconds, logits of the last token computed. */
  async function open({ flashAttention, kvType, contextSize }) {
    const context = await model.createContext({
      contextSize,
      sequences: 1,
      batchSize: 512,
      threads,
      flashAttention,
      experimentalKvCacheKeyType: kvType,
      experimentalKvCacheValueType: kvType,
    });
    const sequence = context.getSequence();
    const feed = (ids) =>
      sequence.controlledEvaluate(
        Array.from(ids, (id, i) =>
          i === ids.length - 1 ? [id, { generateNext: { token: true } }] : id,
        ),
      );
    return {
      async prefill(ids) {
        await sequence.clearHistory();
        const start = performance.now();
        await feed(ids);
        return (performance.now() - start) / 1000;
      },
      async decode(ids) {
        const start = performance.now();
        for (const id of ids) await feed([id]);
        return (performance.now() - start) / 1000;
      },
      dispose: () => context.dispose(),
    };
  }
  return { open, dispose: () => llama.dispose() };
}
