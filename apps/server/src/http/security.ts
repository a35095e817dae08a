import { createHash, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { KvCacheError } from "@kvcache/core";
import type { FastifyRequest } from "fastify";
import { ApiError } from "./api-error.ts";

/** What routers and probes read without a key; the inspector's page, which holds nothing, asks for one. */
const open = new Set(["/health", "/metrics", "/version", "/inspector"]);

const digest = (text: string) => createHash("sha256").update(text).digest();

/**
 * Checks the key of a request; no keys means that everybody may ask. Every key is compared, each in
 * constant time.
 */
export function createKeyCheck(keys: readonly string[]): (request: FastifyRequest) => void {
  const digests = keys.map(digest);
  return ({ headers, routeOptions }) => {
    if (digests.length === 0 || open.has(routeOptions.url ?? "")) return;
    const [, given = ""] = /^Bearer +(\S+)$/i.exec(headers.authorization ?? "") ?? [];
    const asked = digest(given);
    let valid = false;
    for (const known of digests) valid = timingSafeEqual(known, asked) || valid;
    if (valid) return;
    throw new ApiError(401, given ? "The API key is not valid." : "An API key is missing.", {
      code: "invalid_api_key",
      headers: { "www-authenticate": "Bearer" },
    });
  };
}

/** Keys of the command line, of KVCACHE_API_KEY (separated by commas) and of a file (one a line). */
export function readKeys(given: readonly string[], file: string | undefined): readonly string[] {
  const fromEnvironment = (process.env.KVCACHE_API_KEY ?? "").split(",");
  const fromFile = file === undefined ? [] : readFileSync(file, "utf8").split(/\r?\n/);
  const keys = [...given, ...fromEnvironment, ...fromFile].map((key) => key.trim()).filter(Boolean);
  if (file !== undefined && fromFile.every((key) => key.trim() === ""))
    throw new KvCacheError("invalid-argument", `--api-key-file ${file} holds no key.`, {
      value: file,
    });
  return [...new Set(keys)];
}

export const isLoopback = (host: string): boolean =>
  host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));

/** Refuses to answer the whole network without a key, unless told to. */
export function checkExposure(host: string, numKeys: number, allowed: boolean): void {
  if (isLoopback(host) || numKeys > 0 || allowed) return;
  throw new KvCacheError(
    "invalid-argument",
    `--host ${host} would answer everybody who reaches this machine.`,
    {
      value: host,
      remedy: "Give --api-key, or --allow-unauthenticated where something else guards the port.",
    },
  );
}
