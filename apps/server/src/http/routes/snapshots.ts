import { z } from "zod";
import { ApiError, invalidField, unavailable } from "../api-error.ts";
import { chatPrompt } from "../chat-prompt.ts";
import type { HttpContext, Routes } from "../context.ts";
import { defined } from "../generation-request.ts";
import { type KvRequest, policyName } from "../kv-plan.ts";
import { withAdmission } from "../request-scope.ts";
import { errorResponses } from "../schemas/error.ts";
import {
  deletedSnapshot,
  snapshot,
  snapshotCreated,
  snapshotList,
  snapshotRequest,
} from "../schemas/snapshots.ts";
import type { SnapshotInfo, SnapshotStore } from "../snapshots/snapshot-store.ts";

const bodyOf = ({ model, tokensKept, ...info }: SnapshotInfo) => ({
  object: "kv.snapshot" as const,
  id: info.id,
  model,
  policy: info.policy,
  tokens: info.tokens,
  tokens_kept: tokensKept,
  bytes: info.bytes,
  created: info.created,
  expires: info.expires,
});

const kvRequestOf = (body: KvRequest): KvRequest =>
  defined({
    kv: body.kv,
    max_cache_tokens: body.max_cache_tokens,
    protected_window_size: body.protected_window_size,
    compress_once: body.compress_once,
  });

/** Caches of prompts that outlive their requests, and the server. */
export const snapshotRoutes: Routes = (context: HttpContext) => async (app) => {
  const tags = ["snapshots"];
  const params = z.object({ id: z.string().max(64) });
  const store = (): SnapshotStore => {
    if (context.snapshots) return context.snapshots;
    throw new ApiError(404, "This server keeps no snapshots: start it with --snapshots <folder>.", {
      code: "snapshots_off",
    });
  };

  app.post(
    "/v1/kv/snapshots",
    {
      schema: {
        summary: "Read a prompt, compress its cache and keep it",
        tags,
        body: snapshotRequest,
        response: { 200: snapshotCreated, ...errorResponses },
      },
    },
    (request, reply) =>
      withAdmission(context, request, reply, snapshotRequest, async ({ model, signal }) => {
        const { body } = request;
        const snapshots = store();
        const { kv } = body;
        if (kv?.compressAfter !== undefined && kv?.compressAfter !== null)
          throw invalidField("kv.compressAfter", "A snapshot is compressed as a whole.");
        if (kv?.snapshot) throw invalidField("kv.snapshot", "A snapshot does not begin with one.");
        const plan = model.planOf(body);
        const prompt = body.messages
          ? chatPrompt({ messages: body.messages, add_generation_prompt: false }, model).ids
          : model.tokenizer.encode(body.prompt!);
        const timeout = body.timeout ? { timeout: 1000 * body.timeout } : {};
        const captured = await model.run.engine.capture({ prompt, plan, signal, ...timeout });
        const { bytes, state, usage } = captured;
        const info = await snapshots.save(
          { bytes, state },
          {
            model: model.id,
            request: kvRequestOf(body),
            policy: policyName(plan),
            tokensKept: captured.kv.tokensKept,
          },
          body.ttl_seconds ?? undefined,
        );
        if (signal.aborted) {
          // Nobody hears its name, so nobody would ask for it or remove it.
          await snapshots.remove(info.id);
          throw unavailable("The request was aborted.");
        }
        const { promptTokens: prompt_tokens, cachedTokens: cached_tokens } = usage;
        const prompt_tokens_details = { cached_tokens };
        return { ...bodyOf(info), usage: { prompt_tokens, prompt_tokens_details } };
      }),
  );

  app.get(
    "/v1/kv/snapshots",
    { schema: { summary: "All snapshots", tags, response: { 200: snapshotList } } },
    async () => ({
      object: "list" as const,
      data: store().list().map(bodyOf),
      bytes: store().bytes,
      max_bytes: store().maxBytes,
    }),
  );
  app.get(
    "/v1/kv/snapshots/:id",
    { schema: { summary: "One snapshot", tags, params, response: { 200: snapshot } } },
    async ({ params: { id } }) => bodyOf(store().info(id)),
  );
  app.delete(
    "/v1/kv/snapshots/:id",
    { schema: { summary: "Forget a snapshot", tags, params, response: { 200: deletedSnapshot } } },
    async ({ params: { id } }) => {
      await store().remove(id);
      return { id, object: "kv.snapshot" as const, deleted: true as const };
    },
  );
};
