import { KvCacheError } from "@kvcache/core";
import type { ModelFiles } from "@kvcache/decoder";
import { blobFiles } from "./blob-files.ts";
import { openModelStore } from "./model-store.ts";

const SINGLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";
const required = ["config.json", "tokenizer.json"];
const optional = [
  "generation_config.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "chat_template.jinja",
];

export interface UrlModel {
  readonly files: ModelFiles;
  /** Whether the files are in this browser's storage now. */
  readonly stored: boolean;
}

/**
 * A model folder on a web server. Comes from this browser's storage where it is complete there, else
 * streams there; `onProgress` tells bytes of the weights. Throws `not-found`, naming file and answer.
 */
export async function urlModel(
  url: string,
  name: string,
  onProgress: (done: number, total: number) => void,
): Promise<UrlModel> {
  const store = await openModelStore(url);
  const known = await store?.read();
  if (known) return { files: blobFiles(name, known), stored: true };

  const blobs = new Map<string, Blob>();
  let stored = store !== undefined;
  let done = 0;
  let total = 0;

  /** Streams one file to storage, or to memory where storage is full, locked or absent. */
  async function take(file: string, response: Response): Promise<Blob> {
    const counted = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
      transform(chunk, controller) {
        done += chunk.length;
        onProgress(Math.min(done, total), total);
        controller.enqueue(chunk);
      },
    });
    const body = response.body!.pipeThrough(counted);
    if (!store || !stored) return new Response(body).blob();
    const before = done;
    try {
      return await store.write(file, body);
    } catch {
      stored = false;
      done = before;
      return take(file, await ask(url, file));
    }
  }

  for (const file of required) {
    const blob = await take(file, await ask(url, file));
    blobs.set(file, blob);
  }
  for (const file of optional) {
    const response = await fetch(new URL(file, url));
    if (isFile(response)) blobs.set(file, await take(file, response));
  }
  const index = await fetch(new URL(INDEX, url));
  const weights = isFile(index)
    ? await take(INDEX, index).then(async (blob) => {
        blobs.set(INDEX, blob);
        return shardsOf(await blob.text());
      })
    : [SINGLE];
  // All are asked for before any is read: their sizes together are what progress is measured by.
  const responses = await Promise.all(weights.map((file) => ask(url, file)));
  done = 0;
  total = responses.reduce((sum, { headers }) => sum + Number(headers.get("content-length")), 0);
  for (const [i, file] of weights.entries()) blobs.set(file, await take(file, responses[i]!));
  if (stored)
    await store!.seal([...blobs.keys()]).catch(() => {
      stored = false;
    });
  return { files: blobFiles(name, blobs), stored };
}

/** Servers of single pages answer any name with their page. */
const isFile = ({ ok, headers }: Response) =>
  ok && !headers.get("content-type")?.startsWith("text/html");

async function ask(url: string, file: string): Promise<Response> {
  const address = new URL(file, url).href;
  const response = await fetch(address).catch((cause: unknown) => {
    throw new KvCacheError("not-found", `${address} cannot be reached: ${cause}.`, {
      remedy: "Check the address and the network; the server must allow other origins (CORS).",
      cause,
    });
  });
  if (isFile(response)) return response;
  throw new KvCacheError("not-found", `${address} answered ${response.status}, not a file.`, {
    value: response.status,
    remedy: "A model folder needs config.json, tokenizer.json and safetensors.",
  });
}

function shardsOf(index: string): string[] {
  const { weight_map: map } = JSON.parse(index) as { weight_map?: Record<string, unknown> };
  const shards = [...new Set(Object.values(map ?? {}))];
  if (shards.length > 0 && shards.every((s) => typeof s === "string" && /^[\w.+-]+$/.test(s)))
    return shards as string[];
  throw new KvCacheError("invalid-model", `${INDEX} names no shards of this folder.`);
}
