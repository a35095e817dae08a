import { KvCacheError } from "@kvcache/core";

/** One question about a text, as in the tasks that ship with model-tiny. */
export interface EvalSample {
  readonly id: string;
  /** Decides how an answer is scored, see `scoreAnswer`; unknown tasks ask for the first answer. */
  readonly task: string;
  /** Tokens that the sample was made for: a label, not a limit. */
  readonly length: number;
  readonly context: string;
  /** Follows the context; the first of them is asked. */
  readonly turns: readonly EvalTurn[];
}

export interface EvalTurn {
  readonly question: string;
  readonly answers: readonly string[];
}

/**
 * Reads JSONL of `{id, task, length, context, turns: [{question, answers}]}`. Throws `invalid-file`
 * naming the line and the field.
 */
export function parseSamples(text: string, source = "samples"): EvalSample[] {
  const samples = text
    .split("\n")
    .map((line, i) => ({ line, number: i + 1 }))
    .filter(({ line }) => line.trim() !== "")
    .map(({ line, number }) => parseSample(line, `${source}, line ${number}`));
  if (samples.length === 0) throw new KvCacheError("invalid-file", `${source} holds no samples.`);
  const ids = new Set<string>();
  for (const { id } of samples) {
    if (ids.has(id))
      throw new KvCacheError("invalid-file", `${source} holds two samples "${id}".`, { value: id });
    ids.add(id);
  }
  return samples;
}

function parseSample(line: string, where: string): EvalSample {
  const bad = (what: string, value?: unknown): never => {
    throw new KvCacheError("invalid-file", `${where}: ${what}.`, { value });
  };
  let json: Partial<EvalSample>;
  try {
    json = JSON.parse(line);
  } catch (cause) {
    throw new KvCacheError("invalid-file", `${where} is not JSON.`, { cause });
  }
  for (const field of ["id", "task", "context"] as const)
    if (typeof json[field] !== "string") bad(`${field} must be a text`, json[field]);
  if (!Number.isFinite(json.length)) bad("length must be a number", json.length);
  if (!Array.isArray(json.turns) || json.turns.length === 0)
    bad("turns must name at least one question", json.turns);
  for (const turn of json.turns!) {
    if (typeof turn?.question !== "string") bad("a turn needs a question", turn);
    const texts = Array.isArray(turn.answers) && turn.answers.every((a) => typeof a === "string");
    if (!texts || turn.answers.length === 0) bad("a turn needs answers, a list of texts", turn);
  }
  return json as EvalSample;
}
