// Numbers as people read them.

export const milliseconds = (value) =>
  value < 1000 ? `${value.toPrecision(3)} ms` : `${(value / 1000).toPrecision(3)} s`;

export function size(bytes) {
  const [value, unit] = bytes < 1e6 ? [bytes / 1e3, "kB"] : [bytes / 1e6, "MB"];
  return `${value < 100 ? value.toPrecision(2) : Math.round(value)} ${unit}`;
}

export function count(value) {
  for (const [unit, least] of [["G", 1e9], ["M", 1e6], ["k", 1e3]])
    if (value >= least)
      return `${value / least < 100 ? (value / least).toPrecision(2) : Math.round(value / least)} ${unit}`;
  return String(Math.round(value));
}
