export type WeightDtype = "f32" | "f16" | "bf16";

/** A stored tensor: row-major, little-endian, not yet converted. */
export interface WeightTensor {
  readonly dtype: WeightDtype;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

/** Where a backend takes a model's weights from. */
export interface WeightSource {
  has(name: string): boolean;
  /** Throws `invalid-model` naming tensor and file when it is missing or malformed. */
  get(name: string): WeightTensor;
}

/** How a backend stores weights: integers by block-wise quantisation (block 32). */
export type WeightFormat = "f32" | "f16" | "int8" | "int4";
