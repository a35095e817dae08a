import { KvCacheError } from "@kvcache/core";
import { z } from "zod";
import { jsonArgument } from "../arguments.ts";
import { backendNames } from "../assemble.ts";
import type { RunOptions } from "../cli-options.ts";

/** Everything about one model that is served. */
export interface ModelSettings extends Omit<RunOptions, "json"> {
  readonly name: string;
  readonly policy: string;
  readonly budget?: string;
  readonly maxNumSeqs: number;
}

const count = z.int().min(1);
const modelEntry = z.strictObject({
  name: z.string().min(1).max(512),
  model: z.string().min(1),
  backend: z.enum(backendNames).optional(),
  threads: count.optional(),
  dtype: z.enum(["f32", "f16", "int8", "int4"]).optional(),
  kvDtype: z.enum(["f32", "f16"]).optional(),
  kvMemory: z.string().optional(),
  blockSize: count.optional(),
  policy: z.string().optional(),
  budget: z.string().optional(),
  maxNumSeqs: count.optional(),
});
const modelsFile = z.strictObject({ models: z.array(modelEntry).min(1) });

/** The command line's one model, or those of its `--config`; options that these leave out are its own. */
export function modelsOf(
  options: Omit<ModelSettings, "name"> & { readonly name?: string; readonly config?: string },
): readonly ModelSettings[] {
  const { config, name, ...shared } = options;
  if (config === undefined) {
    const { model } = options;
    const own =
      model === "tiny" ? "kvcache-tiny" : (model.split(/[\\/]/).filter(Boolean).at(-1) ?? model);
    return [{ ...shared, name: name ?? own }];
  }
  const parsed = modelsFile.safeParse(jsonArgument(config, "--config"));
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0]!;
    throw new KvCacheError("invalid-argument", `--config: ${path.join(".")} ${message}.`, {
      value: config,
      remedy: 'Write for example {"models":[{"name":"tiny","model":"tiny"}]}.',
    });
  }
  const { models } = parsed.data;
  const names = models.map((one) => one.name);
  const twice = names.find((one, i) => names.indexOf(one) !== i);
  if (twice !== undefined)
    throw new KvCacheError("invalid-argument", `--config names ${twice} twice.`, { value: twice });
  return models.map(
    (entry) =>
      ({
        ...shared,
        ...Object.fromEntries(Object.entries(entry).filter(([, value]) => value !== undefined)),
      }) as ModelSettings,
  );
}
