import { KvCacheError, type KvShape } from "@kvcache/core";
import {
  convertBudgetCurve,
  convertDuoAttentionPattern,
  convertHeadScores,
  convertKvZap,
  convertQFilters,
  convertQueryStatistics,
  createPolicy,
  writeBudgetCurve,
  writeKvZap,
  writeQFilters,
  writeQueryStatistics,
  writeRetentionGates,
} from "@kvcache/policies";
import { retentionGatesFrom } from "./retention-gates-files.ts";

export interface PublishedFile {
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** The model that a file is bound to. */
export interface ConvertTarget {
  readonly name: string;
  readonly fingerprint: string;
  readonly shape: KvShape;
}

export interface Conversion {
  /** Where such files are published. */
  readonly from: string;
  /** What the command takes. */
  readonly files: string;
  readonly needsModel?: boolean;
  convert(files: readonly PublishedFile[], model: ConvertTarget | undefined): string | Uint8Array;
}

const text = ({ bytes }: PublishedFile) => new TextDecoder().decode(bytes);

function only(files: readonly PublishedFile[]): PublishedFile {
  if (files.length === 1) return files[0]!;
  throw new KvCacheError("invalid-argument", `One file is taken, ${files.length} were given.`, {
    value: files.length,
  });
}

/** Throws `invalid-plan` where the policy that is made with what was read does not fit the model. */
function fits<Content>(
  policy: string,
  option: string,
  content: Content,
  model: ConvertTarget | undefined,
): Content {
  const { scorer, budget } = createPolicy(policy, { [option]: content });
  if (model) for (const part of [scorer, budget]) part.checkShape?.(model.shape, model.fingerprint);
  return content;
}

const about = (model: ConvertTarget | undefined): Record<string, string> =>
  model ? { modelName: model.name } : {};

/** Published files by method. */
export const conversions: Readonly<Record<string, Conversion>> = {
  "duo-attention": {
    from: "attn_patterns/<model>/…/full_attention_heads.tsv of github.com/mit-han-lab/duo-attention",
    files: "full_attention_heads.tsv, and the config.json beside it if there is one",
    needsModel: true,
    convert(files, model) {
      const { name, fingerprint, shape } = model!;
      const config = files.find(({ path }) => path.endsWith(".json"));
      const table = only(files.filter((file) => file !== config));
      const profile = convertDuoAttentionPattern(text(table), {
        model: { name, fingerprint },
        numQueryHeads: shape.numQueryHeads,
        config: config && text(config),
      });
      return `${JSON.stringify(fits("duo-attention", "profile", profile, model))}\n`;
    },
  },
  "expected-attention": {
    from: "alessiodevoto/exp_att_stats_… on the Hugging Face Hub (kvpress)",
    files: "model.safetensors",
    convert(files, model) {
      const statistics = convertQueryStatistics(only(files).bytes, model?.fingerprint);
      const checked = fits("expected-attention", "statistics", statistics, model);
      return writeQueryStatistics(checked, about(model));
    },
  },
  "fast-kv-zip": {
    from: "Jang-Hyun/Fast-KVzip on the Hugging Face Hub",
    files: "the PyTorch file, or safetensors: of all layers, or a file each in their order",
    convert(files, model) {
      const gates = retentionGatesFrom(files, model?.fingerprint);
      return writeRetentionGates(fits("fast-kv-zip", "gates", gates, model), about(model));
    },
  },
  "head-kv": {
    from: "Important_Head/head_score/<model>.json of github.com/FYYFU/HeadKV",
    files: "the JSON file of the model",
    needsModel: true,
    convert(files, model) {
      const { name, fingerprint, shape } = model!;
      const { numLayers, numQueryHeads, numKvHeads } = shape;
      const profile = convertHeadScores(text(only(files)), {
        model: { name, fingerprint },
        shape: { numLayers, numQueryHeads, numKvHeads },
      });
      return `${JSON.stringify(fits("head-kv", "profile", profile, model))}\n`;
    },
  },
  "kv-zap": {
    from: "nvidia/KVzap-mlp-… and nvidia/KVzap-linear-… on the Hugging Face Hub",
    files: "model.safetensors",
    convert(files, model) {
      const weights = convertKvZap(only(files).bytes, model?.fingerprint);
      return writeKvZap(fits("kv-zap", "surrogate", weights, model), about(model));
    },
  },
  "lu-kv": {
    from: "the authors' tools, github.com/baidu-baige/LU-KV",
    files: "a .npy file, [99, layers, KV heads]",
    convert(files, model) {
      const curve = convertBudgetCurve(only(files).bytes, model?.fingerprint);
      return writeBudgetCurve(fits("lu-kv", "curve", curve, model), about(model));
    },
  },
  "q-filters": {
    from: "nthngdy/…_qfilt on the Hugging Face Hub",
    files: "model.safetensors",
    convert(files, model) {
      const filters = convertQFilters(only(files).bytes, model?.fingerprint);
      return writeQFilters(fits("q-filters", "filters", filters, model), about(model));
    },
  },
};
