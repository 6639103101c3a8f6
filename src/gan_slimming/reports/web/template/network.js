// The page's side of the worker: one call at a time, a new worker after a failure.

const THREADS = 4; // more do not help networks as small as these

/** Return why WebGPU cannot be used here; "" where it can. */
export async function webgpuFault() {
  if (!self.isSecureContext) return "WebGPU needs https or localhost";
  if (!navigator.gpu) return "this browser has no WebGPU";
  try {
    return (await navigator.gpu.requestAdapter()) ? "" : "WebGPU finds no graphics chip";
  } catch (error) {
    return String(error.message ?? error);
  }
}

export class Network {
  #worker = null;
  #calls = new Map();
  #last = 0;
  #opened = new Map();
  #tail = Promise.resolve();

  constructor(config, onProgress) {
    this.config = config;
    this.onProgress = onProgress;
    this.backend = "";
    this.threads = self.crossOriginIsolated
      ? Math.min(THREADS, navigator.hardwareConcurrency || 1) : 1;
  }

  /** Load a backend's runtime, in a new worker. */
  async start(backend) {
    this.stop();
    this.backend = backend;
    this.#worker = new Worker("worker.js", { type: "module" });
    this.#worker.onmessage = ({ data }) => this.#receive(data);
    this.#worker.onerror = (event) => this.#fail(event.message || "the worker cannot be loaded");
    const { config, threads } = this;
    await this.#call("start", { config, backend, threads });
  }

  stop() {
    this.#worker?.terminate();
    this.#fail("stopped");
    this.#opened.clear();
  }

  /** Load a model, once. */
  open(role) {
    if (!this.#opened.has(role)) {
      const opened = this.#call("open", { role });
      this.#opened.set(role, opened);
      opened.catch(() => this.#opened.delete(role)); // it may be tried again
    }
    return this.#opened.get(role);
  }

  /** Return {rgba, size, milliseconds} of a photo: {pixels, width, height}. */
  async drawPhoto(role, photo) {
    await this.open(role);
    return this.#call("drawPhoto", { role, ...photo });
  }

  /** Return the same of noise: {seed, label}. */
  async drawNoise(role, latent) {
    await this.open(role);
    return this.#call("drawNoise", { role, ...latent });
  }

  /** A call waits for the one before it: a session computes one image at a time. */
  #call(action, values) {
    const worker = this.#worker;
    const ask = () => new Promise((resolve, reject) => {
      if (worker !== this.#worker) return reject(new Error("stopped"));
      const id = ++this.#last;
      this.#calls.set(id, { resolve, reject });
      worker.postMessage({ id, action, values });
    });
    const answer = this.#tail.then(ask, ask);
    this.#tail = answer.catch(() => {});
    return answer;
  }

  #receive({ id, result, error, progress }) {
    if (progress) return this.onProgress(progress);
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    if (error) call?.reject(new Error(error));
    else call?.resolve(result);
  }

  #fail(reason) {
    for (const { reject } of this.#calls.values()) reject(new Error(reason));
    this.#calls.clear();
  }
}
