import { describe, expect, it } from "vitest";
import { generationRequest, samplingOf } from "./generation-request.ts";
import { chatRequest } from "./schemas/chat.ts";
import { completionRequest } from "./schemas/completion.ts";
import { type GenerationFields, generationFields } from "./schemas/generation.ts";
import { responsesRequest } from "./schemas/responses.ts";
import type { ServedModel } from "./served-model.ts";

/** What of a model a request looks at; its publisher sampled. */
const model = {
  planOf: () => ({}),
  run: {
    model: {
      generationConfig: {
        doSample: true,
        temperature: 0.7,
        topP: 0.9,
        topK: 20,
        minP: 0.1,
        repetitionPenalty: 1.1,
      },
    },
  },
} as unknown as ServedModel;

const sampling = (fields: GenerationFields) => samplingOf(fields, model);

describe("fields of a request", () => {
  it.each(Object.keys(generationFields))("%s: null is the same as nothing", (field) => {
    for (const schema of [chatRequest, completionRequest, responsesRequest])
      if (field in schema.shape)
        expect(schema.shape[field as keyof typeof schema.shape]!.safeParse(null).success).toBe(
          true,
        );
    const details = { prompt: [1], signal: new AbortController().signal };
    expect(generationRequest({ [field]: null }, model, details)).toEqual(
      generationRequest({}, model, details),
    );
  });

  it("go before what the publisher says, which goes before nothing", () => {
    const { temperature, topP, topK, minP, repetitionPenalty } = model.run.model.generationConfig;
    expect(sampling({})).toEqual({ temperature, topP, topK, minP, repetitionPenalty });
    expect(sampling({ top_k: 5 }).topK).toBe(5);
    expect([sampling({ top_k: 0 }).topK, sampling({ top_k: -1 }).topK]).toEqual([0, 0]);
    expect(sampling({ top_p: 1, temperature: 0, min_p: 0 })).toMatchObject({
      topP: 1,
      temperature: 0,
      minP: 0,
    });
  });
});

describe("a seed", () => {
  const seed = (given: number) => sampling({ seed: given }).seed;

  it("is any integer; each stands for itself, and -1 for none", () => {
    expect([seed(0), seed(7)]).toEqual([0, 7]);
    expect(seed(-1)).toBeUndefined();
    const { MAX_SAFE_INTEGER: most } = Number;
    const negative = [-2, -3, -1000, -(2 ** 31), -(2 ** 52)].map(seed);
    expect(new Set(negative).size).toBe(negative.length);
    for (const own of [...negative, seed(-most), seed(most), seed(-most + 2 ** 16)])
      expect(Number.isSafeInteger(own) && own! >= 0).toBe(true);
    // The engine takes seeds modulo this number: none of these meets a small one there.
    for (const own of negative) expect(own! % (most - 2 ** 16)).toBeGreaterThan(2 ** 31);
  });

  it("outside of what numbers can tell apart is refused", () => {
    const parse = (given: number) => generationFields.seed.safeParse(given).success;
    expect([parse(2 ** 53 - 1), parse(1 - 2 ** 53)]).toEqual([true, true]);
    expect([parse(2 ** 53), parse(-(2 ** 63)), parse(1.5)]).toEqual([false, false, false]);
  });
});
