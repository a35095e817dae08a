import type { CapturedCache } from "@kvcache/engine";
import { ApiError, invalidField } from "../api-error.ts";
import type { HttpContext } from "../context.ts";
import type { KvRequest } from "../kv-plan.ts";
import type { ServedModel } from "../served-model.ts";

/** A cache that a request starts from, and what was said about it when it was made. */
export interface RestoredSnapshot {
  readonly captured: CapturedCache;
  readonly request: KvRequest;
}

/** Loads the snapshot that a request names in kv.snapshot; undefined where it names none. */
export async function snapshotOf(
  { snapshots }: Pick<HttpContext, "snapshots">,
  { kv }: KvRequest,
  model: ServedModel,
): Promise<RestoredSnapshot | undefined> {
  const id = kv?.snapshot;
  if (id === undefined || id === null) return undefined;
  if (!snapshots)
    throw new ApiError(404, "This server keeps no snapshots: start it with --snapshots <folder>.", {
      param: "kv.snapshot",
      code: "snapshots_off",
    });
  const { info, captured } = await snapshots.load(id);
  if (info.model !== model.id)
    throw invalidField("kv.snapshot", `Snapshot ${id} is of the model ${info.model}.`);
  return { captured, request: info.request };
}
