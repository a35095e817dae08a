/** A family of metrics as /metrics tells it. */
export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly samples: readonly Sample[];
}

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const metricName = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const labelPattern = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\n"])*)"(?:,|$)/y;

/**
 * Reads Prometheus' text format 0.0.4 strictly, with the rules that promtool checks beside: help
 * and type of every family once and before its samples, no family twice or in pieces, no sample
 * twice, counters named …_total and never negative, histograms that are whole and add up.
 */
export function parseExposition(text: string): readonly Family[] {
  if (!text.endsWith("\n")) throw new Error("The last line does not end.");
  const families: { name: string; help: string; type: Family["type"]; samples: Sample[] }[] = [];
  let help: readonly [string, string] | undefined;
  for (const line of text.slice(0, -1).split("\n")) {
    if (line === "") continue;
    const fail = (why: string): never => {
      throw new Error(`${why}: ${line}`);
    };
    if (line.startsWith("#")) {
      const [, kind, name, rest] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? fail("bad comment");
      if (!metricName.test(name!)) fail("bad name");
      if (families.some((family) => family.name === name)) fail("family twice");
      if (kind === "HELP") {
        if (help) fail("help without type");
        help = [name!, rest!];
        continue;
      }
      if (help?.[0] !== name) fail("type without help");
      if (!/^(counter|gauge|histogram)$/.test(rest!)) fail("unknown type");
      families.push({ name: name!, help: help![1], type: rest as Family["type"], samples: [] });
      help = undefined;
      continue;
    }
    const [, name, labels = "", number] =
      /^([^\s{]+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? fail("bad sample");
    const family = families.at(-1) ?? fail("sample without family");
    const suffix = name!.slice(family.name.length);
    const allowed = family.type === "histogram" ? ["_bucket", "_sum", "_count"] : [""];
    if (!name!.startsWith(family.name) || !allowed.includes(suffix))
      fail("sample of another family");
    const value = number === "+Inf" ? Number.POSITIVE_INFINITY : Number(number);
    if (number === "" || Number.isNaN(value)) fail("bad value");
    family.samples.push({ name: name!, labels: parseLabels(labels), value });
  }
  if (help) throw new Error(`No type for ${help[0]}.`);
  for (const family of families) check(family);
  return families;
}

function parseLabels(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  labelPattern.lastIndex = 0;
  while (labelPattern.lastIndex < text.length) {
    const at = labelPattern.lastIndex;
    const match = labelPattern.exec(text);
    if (!match) throw new Error(`bad labels at ${at}: ${text}`);
    const [, name, value] = match;
    if (name! in labels) throw new Error(`label ${name} twice: ${text}`);
    labels[name!] = value!.replace(/\\([\\n"])/g, (_, c) => (c === "n" ? "\n" : c));
  }
  return labels;
}

const keyOf = (labels: Readonly<Record<string, string>>) =>
  JSON.stringify(Object.entries(labels).sort());

function check({ name, type, samples }: Family): void {
  const fail = (why: string): never => {
    throw new Error(`${name}: ${why}`);
  };
  const keys = samples.map((sample) => `${sample.name} ${keyOf(sample.labels)}`);
  if (new Set(keys).size !== keys.length) fail("a sample twice");
  if (type === "counter" && !name.endsWith("_total")) fail("counters are named …_total");
  if (type === "gauge" && /_(count|sum|bucket)$/.test(name)) fail("a gauge's name ends so");
  if (type !== "gauge" && samples.some(({ value }) => !(value >= 0))) fail("a negative count");
  if (type === "histogram") checkHistogram(samples, fail);
}

function checkHistogram(samples: readonly Sample[], fail: (why: string) => never): void {
  const groups = new Map<string, Sample[]>();
  for (const sample of samples) {
    const { le: _, ...labels } = sample.labels;
    groups.set(keyOf(labels), [...(groups.get(keyOf(labels)) ?? []), sample]);
  }
  for (const group of groups.values()) {
    const buckets = group.filter((sample) => sample.name.endsWith("_bucket"));
    const bounds = buckets.map(({ labels }) =>
      labels.le === "+Inf" ? Number.POSITIVE_INFINITY : Number(labels.le),
    );
    if (bounds.at(-1) !== Number.POSITIVE_INFINITY) fail("no bucket +Inf at the end");
    for (let i = 1; i < buckets.length; i++) {
      if (!(bounds[i]! > bounds[i - 1]!)) fail("buckets are not in order");
      if (buckets[i]!.value < buckets[i - 1]!.value) fail("buckets do not add up");
    }
    const counts = group.filter((sample) => sample.name.endsWith("_count"));
    const sums = group.filter((sample) => sample.name.endsWith("_sum"));
    if (counts.length !== 1 || sums.length !== 1) fail("a count or sum is missing");
    if (counts[0]!.value !== buckets.at(-1)!.value) fail("count is not the last bucket");
    if (counts[0]!.value === 0 && sums[0]!.value !== 0) fail("a sum of nothing");
  }
}
