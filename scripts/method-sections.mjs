/**
 * Sections of docs/methods.md, which a policy names as "kvcache": { "section": … } in its
 * package.json: classes of the survey "Key, Value, Compress", and what this project calls them.
 */
export const sections = {
  observation: "Selective: attention of the last queries",
  accumulated: "Selective: attention of all queries",
  keys: "Selective: keys and values alone",
  statistics: "Selective: expected queries, sketches, calibrations",
  learned: "Selective: trained weights",
  reconstruction: "Selective: extra passes over the prompt",
  budgets: "Selective: budgets over layers and heads",
  second: "Selective: a second stage over other scores",
  combinators: "Combinators of other policies",
  reading: "Selective reading: nothing is evicted",
  none: "No compression",
};
