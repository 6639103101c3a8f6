// The network: runtime and models live here, so that the page stays responsive.
import { noise, paddedSide, toRgba, toTensor } from "./pixels.js";

const MOST_APART = 0.02; // mean difference, as a share of the range; flips of codes make 0.005

let ort, models, backend;
const sessions = {};

/** Fetch a file, telling of its progress; a file that ends in .gz is unpacked if it still is. */
async function bytesOf(path, expected, role) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path} cannot be loaded (${response.status})`);
  const parts = [];
  let received = 0;
  for (const reader = response.body.getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    received += value.length;
    self.postMessage({ progress: { role, received: Math.min(received, expected), expected } });
  }
  const blob = new Blob(parts);
  const head = new Uint8Array(await blob.slice(0, 2).arrayBuffer());
  const packed = path.endsWith(".gz") && head[0] === 0x1f && head[1] === 0x8b;
  const stream = packed ? blob.stream().pipeThrough(new DecompressionStream("gzip")) : blob;
  return new Uint8Array(await (packed ? new Response(stream) : blob).arrayBuffer());
}

const actions = {
  async start({ config, backend: chosen, threads }) {
    ({ models } = config);
    backend = chosen;
    const files = config.runtime.backends[backend].files;
    const url = (ending) =>
      new URL(Object.keys(files).find((name) => name.endsWith(ending)), self.location.href).href;
    const binary = Object.keys(files).find((name) => name.endsWith(".gz"));
    ort = await import(url(".min.mjs"));
    ort.env.logLevel = "error";
    ort.env.wasm.numThreads = threads;
    ort.env.wasm.wasmPaths = { mjs: url(backend === "webgpu" ? "asyncify.mjs" : "threaded.mjs") };
    ort.env.wasm.wasmBinary = await bytesOf(binary, files[binary], "runtime");
  },

  async open({ role }) {
    const file = models[role].files[backend] ?? models[role].files.wasm;
    const content = await bytesOf(file.path, file.bytes, role);
    if (content.length !== file.bytes)
      throw new Error(`${file.path} has ${content.length} bytes, expected ${file.bytes}; reload`);
    sessions[role] = await ort.InferenceSession.create(content, {
      executionProviders: [backend],
      logSeverityLevel: 3,
    });
    if (backend === "webgpu") await compare(role, content);
  },

  async drawPhoto({ role, pixels, width, height }) {
    const { contract } = models[role];
    const { data, dims } = toTensor(pixels, width, height, contract);
    return run(role, { input: new ort.Tensor("float32", data, dims) }, (output) => {
      const size = [width * contract.scale, height * contract.scale];
      return { size, rgba: toRgba(output.data, output.dims, ...size, contract) };
    });
  },

  async drawNoise({ role, seed, label }) {
    const { contract, inputs } = models[role];
    const feeds = { z: new ort.Tensor("float32", noise(contract.latent_size, seed), inputs.z) };
    if (contract.classes) feeds.y = new ort.Tensor("int64", BigInt64Array.of(BigInt(label)), [1]);
    return run(role, feeds, (output) => {
      const size = [output.dims[3], output.dims[2]];
      return { size, rgba: toRgba(output.data, output.dims, ...size, contract) };
    });
  },
};

/** Throw where WebGPU makes another image than WebAssembly of the same small input. */
async function compare(role, content) {
  const { contract, inputs } = models[role];
  const feeds = {};
  for (const [name, shape] of Object.entries(inputs)) {
    const side = paddedSide(48, contract);
    const dims = name === "input" ? [1, contract.channels, side, side] : shape;
    const length = dims.reduce((product, n) => product * n, 1);
    feeds[name] = name === "y" ? new ort.Tensor("int64", BigInt64Array.of(0n), dims)
      : new ort.Tensor("float32", noise(length, 1), dims);
  }
  const exact = await ort.InferenceSession.create(content, { executionProviders: ["wasm"] });
  const wanted = (await exact.run(feeds)).output.data;
  await exact.release();
  const made = (await sessions[role].run(feeds)).output.data;
  let apart = 0;
  for (const [i, value] of made.entries()) apart += Math.abs(value - wanted[i]) / made.length;
  if (!(apart <= MOST_APART * (contract.high - contract.low)))
    throw new Error("WebGPU computes this network wrongly");
}

async function run(role, feeds, finish) {
  const started = performance.now();
  const { output } = await sessions[role].run(feeds);
  const milliseconds = performance.now() - started;
  return { ...finish(output), milliseconds };
}

self.onmessage = async ({ data: { id, action, values } }) => {
  try {
    const result = await actions[action](values);
    self.postMessage({ id, result }, result ? [result.rgba.buffer] : []);
  } catch (error) {
    self.postMessage({ id, error: String(error?.message ?? error) });
  }
};
