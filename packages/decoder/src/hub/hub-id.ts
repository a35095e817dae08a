import { KvCacheError } from "@kvcache/core";

/** A model on the Hugging Face hub: `org/name` or `org/name@revision`. */
export interface HubId {
  readonly repository: string;
  /** Branch, tag or commit. */
  readonly revision: string;
}

const PART = /^[A-Za-z0-9][\w.-]{0,95}$/;
const REVISION = /^[A-Za-z0-9][\w.-]{0,127}$/;

/** Undefined unless the text has the form of a hub id. */
export function parseHubId(text: string): HubId | undefined {
  const [repository = "", revision = "main", ...more] = text.split("@");
  const parts = repository.split("/");
  if (more.length > 0 || parts.length !== 2) return undefined;
  if (!parts.every((part) => PART.test(part)) || !REVISION.test(revision)) return undefined;
  return { repository, revision };
}

export const isCommit = (revision: string): boolean => /^[0-9a-f]{40}$/.test(revision);

/** Thrown where neither the hub nor a cache has the model. */
export const hubError = (id: HubId, what: string, cause?: unknown): KvCacheError =>
  new KvCacheError("not-found", `${id.repository} at ${id.revision}: ${what}.`, {
    value: id.repository,
    remedy:
      "Check the name and the network (HF_TOKEN for gated models), or give the path of a model folder.",
    cause,
  });
