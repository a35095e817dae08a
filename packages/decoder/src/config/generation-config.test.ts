import { describe, expect, it } from "vitest";
import { llamaConfig } from "../__fixtures__/tiny-model.ts";
import { parseConfig } from "./decoder-config.ts";
import { parseGenerationConfig } from "./generation-config.ts";

const config = parseConfig({ ...llamaConfig, bos_token_id: 1 });
const parse = (json?: Record<string, unknown>) => parseGenerationConfig(json, config);

describe("parseGenerationConfig", () => {
  it("falls back to config.json and to transformers' defaults", () => {
    expect(parse()).toEqual({
      eosTokenIds: [2],
      bosTokenId: 1,
      doSample: false,
      temperature: 1,
      topK: 50,
      topP: 1,
      minP: 0,
      repetitionPenalty: 1,
      maxNewTokens: undefined,
    });
  });

  it("takes what the file says", () => {
    const json = {
      eos_token_id: [4, 3, 4],
      do_sample: true,
      temperature: 0.7,
      top_k: 20,
      top_p: 0.8,
      repetition_penalty: 1.05,
      max_new_tokens: 64,
    };
    expect(parse(json)).toMatchObject({
      eosTokenIds: [4, 3],
      doSample: true,
      temperature: 0.7,
      topK: 20,
      topP: 0.8,
      repetitionPenalty: 1.05,
      maxNewTokens: 64,
    });
  });

  it.each([
    ["eos_token_id", "abc"],
    ["eos_token_id", [2, -1]],
    ["eos_token_id", 10],
    ["temperature", "hot"],
    ["top_k", -5],
    ["top_p", 7],
    ["top_p", 0],
    ["do_sample", "maybe"],
    ["repetition_penalty", 0],
  ])("refuses %s = %j", (field, value) => {
    expect(() => parse({ [field]: value })).toThrow(
      expect.objectContaining({
        code: "invalid-model",
        message: expect.stringMatching(`generation_config.json: ${field}`),
      }),
    );
  });
});
