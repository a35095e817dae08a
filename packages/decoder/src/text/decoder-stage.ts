/**
 * One step from tokens to text, fed one token at a time. What `push` and `flush` return, joined
 * over a whole stream, is what the step makes of the whole list of tokens.
 */
export interface DecoderStage {
  push(token: string): string[];
  flush(): string[];
}

/** A stage that treats every token by itself. */
export function perToken(convert: (token: string, index: number) => string): DecoderStage {
  let index = 0;
  return { push: (token) => [convert(token, index++)], flush: () => [] };
}

/** A stage that gets one long token in fragments and can only treat it whole. */
export function collected(create: () => DecoderStage): DecoderStage {
  let text = "";
  return {
    push(fragment) {
      text += fragment;
      return [];
    },
    flush() {
      const stage = create();
      return [...stage.push(text), ...stage.flush()];
    },
  };
}

/** Stages one after the other. */
export function chained(stages: readonly DecoderStage[]): DecoderStage {
  return {
    push: (token) =>
      stages.reduce<string[]>((tokens, stage) => tokens.flatMap((t) => stage.push(t)), [token]),
    flush: () =>
      stages.reduce<string[]>(
        (tokens, stage) => [...tokens.flatMap((t) => stage.push(t)), ...stage.flush()],
        [],
      ),
  };
}
