import { KvCacheError } from "@kvcache/core";

/** What one plan made of one sample: a line of an evaluation's JSONL. */
export interface EvalRecord {
  readonly version: 1;
  readonly id: string;
  readonly task: string;
  readonly length: number;
  readonly question: "hidden" | "visible";
  /** Name of the plan's policy with its options, as the caller wrote it; "full" for no eviction. */
  readonly policy: string;
  /** Budget as the caller wrote it; "1" for the full cache. */
  readonly budget: string;
  /** 0 … 1. */
  readonly score: number;
  /** −log p per token of the gold answer, teacher-forced, natural logarithm. */
  readonly nll: number;
  readonly answer: string;
  /** Tokens fed before the cache was compressed. */
  readonly promptTokens: number;
  /** Bytes of the sequence's blocks, read from the pool, before and after. */
  readonly bytesBefore: number;
  readonly bytesAfter: number;
  /** Entries kept of those cached, over all rows. */
  readonly keptFraction: number;
  /** Tokens kept per row [numLayers × numKvHeads]. */
  readonly kept: readonly number[];
}

/** Names a record among those of one file. */
export const recordKey = (
  record: Pick<EvalRecord, "id" | "question" | "policy" | "budget">,
): string => JSON.stringify([record.id, record.question, record.policy, record.budget]);

/**
 * Reads the records of an evaluation. The last line may be half written, after a kill: it is left
 * out. Throws `invalid-file` for anything else that is no record.
 */
export function parseRecords(text: string, source = "records"): EvalRecord[] {
  const lines = text.split("\n");
  const complete = lines.pop();
  if (complete !== "" && complete !== undefined) {
    try {
      JSON.parse(complete);
      lines.push(complete);
    } catch {
      // Half a line: its sample is evaluated again.
    }
  }
  return lines
    .filter((line) => line !== "")
    .map((line, i) => {
      let record: Partial<EvalRecord> | undefined;
      try {
        record = JSON.parse(line);
      } catch (cause) {
        throw new KvCacheError("invalid-file", `${source}, line ${i + 1} is not JSON.`, { cause });
      }
      if (record?.version !== 1 || typeof record.id !== "string" || !Number.isFinite(record.score))
        throw new KvCacheError(
          "invalid-file",
          `${source}, line ${i + 1} is no evaluation record.`,
          {
            remedy: "Name a file that kvcache eval wrote.",
          },
        );
      return record as EvalRecord;
    });
}
