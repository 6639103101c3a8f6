// Photos to tensors and back. The same padding and conversion as in gan_slimming.data.

/** Size to which a photo is scaled: its longest side at most `longest` pixels, and never larger. */
export function scaledSize(width, height, longest, contract) {
  const most = contract.size || longest;
  const factor = Math.min(1, most / Math.max(width, height));
  return [width, height].map((side) => Math.max(1, Math.round(side * factor)));
}

/** Least side, not below `side`, that the generator takes. */
export function paddedSide(side, contract) {
  if (contract.size) return contract.size;
  const { min_size: least, multiple_of: step } = contract;
  return Math.ceil(Math.max(side, least) / step) * step;
}

/** Index of the source pixel of each padded one: reflected, or repeated where that is too short. */
function padding(length, target) {
  const last = length - 1;
  const reflects = target - length <= last;
  return Int32Array.from({ length: target }, (_, i) =>
    i <= last ? i : reflects ? 2 * last - i : last);
}

/** RGBA bytes to a tensor (1, channels, height, width) in the generator's range and order. */
export function toTensor(rgba, width, height, contract) {
  const { channels, low, high, colour_order: order } = contract;
  const [columns, rows] = [padding(width, paddedSide(width, contract)),
    padding(height, paddedSide(height, contract))];
  const area = columns.length * rows.length;
  const data = new Float32Array(channels * area);
  const half = (high - low) / 2, centre = (high + low) / 2;
  const offsets = order === "BGR" ? [2, 1, 0] : [0, 1, 2];
  let at = 0;
  for (const row of rows) {
    for (const column of columns) {
      const from = 4 * (row * width + column);
      if (channels === 1) {
        const luma = 0.299 * rgba[from] + 0.587 * rgba[from + 1] + 0.114 * rgba[from + 2];
        data[at] = (luma / 127.5 - 1) * half + centre;
      } else {
        for (let c = 0; c < 3; c++)
          data[c * area + at] = (rgba[from + offsets[c]] / 127.5 - 1) * half + centre;
      }
      at++;
    }
  }
  return { data, dims: [1, channels, rows.length, columns.length] };
}

/** A tensor (1, channels, height, width) to RGBA bytes of its top left corner. */
export function toRgba(data, dims, width, height, contract) {
  const { low, high, colour_order: order } = contract;
  const [, channels, rows, columns] = dims;
  const area = rows * columns;
  const offsets = channels === 1 ? [0, 0, 0] : order === "BGR" ? [2, 1, 0] : [0, 1, 2];
  const scale = 255 / (high - low);
  const rgba = new Uint8ClampedArray(4 * width * height); // rounds halves to even, as torch
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = y * columns + x, to = 4 * (y * width + x);
      for (let c = 0; c < 3; c++) rgba[to + c] = (data[offsets[c] * area + from] - low) * scale;
      rgba[to + 3] = 255;
    }
  }
  return rgba;
}

/** Normal noise that follows from its seed (mulberry32, then Box and Muller). */
export function noise(count, seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return Float32Array.from({ length: count }, () =>
    Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()));
}
