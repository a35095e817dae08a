const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const units = ["B", "KiB", "MiB", "GiB", "TiB"];

export const count = (value: number): string => whole.format(value);

/** 1234567 as 1.23M: for tiles. */
export const short = (value: number): string =>
  value < 10_000
    ? whole.format(value)
    : new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 2 }).format(value);

export function bytes(value: number): string {
  const unit = value < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(value) / 10));
  const scaled = value / 1024 ** unit;
  return `${scaled.toFixed(unit === 0 || scaled >= 100 ? 0 : 1)} ${units[unit]}`;
}

export const percent = (share: number): string =>
  `${share > 0 && share < 0.0995 ? (share * 100).toFixed(1) : Math.round(share * 100)} %`;

export const duration = (milliseconds: number): string =>
  milliseconds < 1000
    ? `${Math.round(milliseconds)} ms`
    : `${(milliseconds / 1000).toFixed(milliseconds < 10_000 ? 2 : 1)} s`;

export const rate = (value: number): string => (value < 10 ? value.toFixed(1) : count(value));
