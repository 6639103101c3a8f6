import { Network, webgpuFault } from "./network.js";
import { count, milliseconds, size } from "./numbers.js";
import { keepOffline } from "./offline.js";
import { scaledSize } from "./pixels.js";

const NAMES = { webgpu: "WebGPU", wasm: "WebAssembly" };
const SIZES = [128, 192, 256, 384, 512, 768, 1024, 1536];
const KEPT = 9; // times of which the median is shown
const $ = (id) => document.getElementById(id);
const times = { student: [], teacher: [] };
const shown = { photo: null, student: null, teacher: null }; // ImageData of equal place
let config, network, fault = "", photo = null, seed = 0, stream = null, current = 0;
let teacherIsLoaded = false;

// -- start -----------------------------------------------------------------------------------------

async function begin() {
  document.querySelector("main").hidden = false;
  say("Loading …");
  const offlineFault = await keepOffline(() => photo === null);
  config = await (await fetch("config.json")).json();
  network = new Network(config, ({ role, received, expected }) =>
    say(`Loading the ${role}: ${size(received)} of ${size(expected)}`));
  describe();
  fault = config.runtime.backends.webgpu ? await webgpuFault() : "this model runs in WebAssembly";
  const asked = new URLSearchParams(location.search).get("backend");
  offerBackends(fault);
  listen();
  const loaded = await use(asked === "wasm" || fault ? "wasm" : "webgpu");
  $("offline").textContent = offlineFault || (loaded ? "Ready to work offline." : "");
}

/** Return whether the generator draws from noise. */
const fromNoise = () => config.models.student.contract.latent_size > 0;

/** Fill in what does not change. */
function describe() {
  const { student, teacher } = config.models;
  const { contract } = student;
  for (const part of document.querySelectorAll("[data-for]"))
    part.hidden = (part.dataset.for === "noise") !== fromNoise();
  $("lead").textContent = fromNoise()
    ? "A generator that draws new images, here in the browser."
    : "An image generator that runs here in the browser. Photos stay on this device.";
  $("drop").hidden = fromNoise();
  $("class-field").hidden = !contract.classes;
  $("class").max = contract.classes - 1;
  $("camera").disabled = !navigator.mediaDevices;
  $("teacher-card").hidden = !teacher;
  const sizes = contract.size ? [contract.size] : [...new Set([...SIZES, config.size])]
    .filter((side) => side >= contract.min_size).sort((a, b) => a - b);
  $("size").append(...sizes.map((side) => new Option(`${side} px`, side)));
  $("size").value = contract.size || config.size;
  $("size-field").hidden ||= sizes.length < 2;
}

function offerBackends(reason) {
  for (const name of Object.keys(NAMES).filter((key) => config.runtime.backends[key])) {
    const option = new Option(NAMES[name], name);
    option.disabled = name === "webgpu" && reason !== "";
    $("backend").append(option);
  }
}

/** Load a backend with the student, WebAssembly where WebGPU fails; return whether that worked. */
async function use(backend, { redraw = true } = {}) {
  for (const role of Object.keys(times)) times[role] = [];
  shown.teacher = null;
  $("backend").value = backend;
  try {
    await network.start(backend);
    await network.open("student");
  } catch (error) {
    say("");
    if (error.message === "stopped") return false;
    if (backend === "wasm") {
      warn(`The student cannot run here (${error.message}).`);
      return false;
    }
    fault = error.message;
    warn(`WebGPU failed here (${fault}). The page goes on in WebAssembly.`);
    return use("wasm", { redraw });
  }
  say("");
  describeBackend(backend);
  if (redraw && (fromNoise() || photo)) await draw();
  return true;
}

/** Fill in the sizes of a backend's files. */
function describeBackend(backend) {
  const file = (role) => config.models[role].files[backend] ?? config.models[role].files.wasm;
  const { student, teacher } = config.models;
  const number = student.parameters ? `${count(student.parameters)} parameters, ` : "";
  $("model-size").textContent = size(file("student").bytes);
  $("model-detail").textContent = `${number}${
    { float: "in float", qdq: "int8 weights" }[student.form] ??
    (backend === "wasm" ? "int8" : "int8 weights")}`;
  $("runtime-size").textContent = size(config.runtime.backends[backend].bytes);
  const threads = backend === "wasm"
    ? `, ${network.threads} thread${network.threads > 1 ? "s" : ""}` : "";
  const why = backend === "wasm" && fault ? ` (${fault})` : "";
  $("runtime-detail").textContent =
    `onnxruntime-web ${config.runtime.version}, ${NAMES[backend]}${threads}${why}`;
  if (teacher) $("teacher-detail").textContent = `${size(file("teacher").bytes)} to load`;
  teacherIsLoaded = $("teacher").hidden = false;
  showTimes();
}

// -- drawing ---------------------------------------------------------------------------------------

/** Take an image of any kind that a canvas draws. */
async function openPhoto(source) {
  stopCamera();
  try {
    photo = await createImageBitmap(source);
  } catch {
    return warn(`${source.name ?? "This file"} is no image that this browser can open.`);
  }
  warn("");
  await draw();
}

/** Return the pixels of a source, scaled to the chosen size, on white where it is transparent. */
function pixelsOf(source, width, height) {
  const [w, h] = scaledSize(width, height, Number($("size").value), config.models.student.contract);
  const canvas = new OffscreenCanvas(w, h);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, w, h);
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, w, h);
  return context.getImageData(0, 0, w, h);
}

/** Draw what is chosen with the student and, if it is loaded, the teacher. */
async function draw() {
  const number = ++current;
  busy(true);
  try {
    if (!fromNoise()) shown.photo = pixelsOf(photo, photo.width, photo.height);
    shown.teacher = null;
    shown.student = await made("student");
    if (number !== current) return;
    show();
    if (times.student.length === 1 && times.student[0] < 1500) await made("student"); // warmed up
    if (teacherIsLoaded) await drawTeacher();
  } catch (error) {
    await recover(error);
  } finally {
    if (number === current) busy(false);
  }
}

async function drawTeacher() {
  const number = current;
  const image = await made("teacher");
  if (number !== current) return;
  shown.teacher = image;
  show();
}

/** Return the ImageData that a model makes, and note its time. */
async function made(role) {
  const answer = fromNoise()
    ? await network.drawNoise(role, { seed, label: Number($("class").value) })
    : await network.drawPhoto(role, {
      pixels: shown.photo.data, width: shown.photo.width, height: shown.photo.height });
  times[role].push(answer.milliseconds);
  showTimes();
  return new ImageData(answer.rgba, ...answer.size);
}

/** Go on after a failure: with a new worker, and in WebAssembly if it was WebGPU. */
async function recover(error) {
  if (error.message === "stopped") return;
  const place = shown.photo ? `${shown.photo.width}×${shown.photo.height} pixels` : "this image";
  const short = /memory|alloc|abort|out of bounds|unreachable|too large|range/i.test(error.message);
  warn(short ? `There is not enough memory for ${place}: choose a smaller size.`
    : `The image cannot be drawn (${error.message}).`);
  photo = null;
  stopCamera();
  const next = network.backend === "webgpu" && !short ? "wasm" : network.backend;
  await use(next, { redraw: false });
}

// -- webcam ----------------------------------------------------------------------------------------

async function startCamera() {
  try {
    stream = await navigator.mediaDevices.getUserMedia(
      { video: { width: { ideal: 640 }, height: { ideal: 480 }, facingMode: "user" } });
  } catch (error) {
    return warn(`The webcam cannot be used (${error.message}).`);
  }
  warn("");
  current++;
  const video = $("video");
  video.srcObject = stream;
  await video.play();
  $("camera").textContent = "Stop webcam";
  $("camera").setAttribute("aria-pressed", "true");
  $("frames-card").hidden = false;
  const own = stream, ends = [];
  while (stream === own) {
    try {
      shown.photo = pixelsOf(video, video.videoWidth, video.videoHeight);
      shown.teacher = null;
      shown.student = await made("student");
    } catch (error) {
      return recover(error);
    }
    if (stream !== own) return;
    show();
    ends.push(performance.now());
    if (ends.length > KEPT) ends.shift();
    if (ends.length > 2) {
      const rate = 1000 * (ends.length - 1) / (ends.at(-1) - ends[0]);
      $("frames").textContent = rate.toPrecision(rate < 10 ? 2 : 3);
    }
    await new Promise(requestAnimationFrame);
  }
}

function stopCamera() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  $("camera").textContent = "Webcam";
  $("camera").setAttribute("aria-pressed", "false");
}

// -- what is shown ---------------------------------------------------------------------------------

/** Show both images, and the divider between them. */
function show() {
  const teacher = $("compare").value === "teacher" || fromNoise();
  const left = teacher ? shown.teacher : shown.photo;
  $("drop").hidden = true;
  $("frame").hidden = false;
  $("save").disabled = false;
  paint($("after"), shown.student);
  if (left) paint($("before"), left);
  for (const part of ["before", "divider", "slider", "left-tag"]) $(part).hidden = !left;
  $("left-tag").textContent = teacher ? "teacher" : "photo";
  $("right-tag").textContent = "student";
  const { width, height } = shown.student;
  $("frame").style.setProperty("--shown", `min(${Math.max(width, 480)}px, ${70 * width / height}vh)`);
  divide();
}

function paint(canvas, image) {
  [canvas.width, canvas.height] = [image.width, image.height];
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function divide() {
  const share = Number($("slider").value) / 10;
  $("before").style.clipPath = `inset(0 ${100 - share}% 0 0)`;
  $("divider").style.left = `${share}%`;
  const name = $("left-tag").textContent;
  $("slider").setAttribute("aria-valuetext", `${Math.round(share)} % ${name}, the rest student`);
}

function showTimes() {
  const medians = {};
  for (const role of Object.keys(times)) {
    if (!config.models[role]) continue;
    const kept = times[role].length > 1 ? times[role].slice(1).slice(-KEPT) : times[role];
    const median = [...kept].sort((a, b) => a - b)[kept.length >> 1];
    medians[role] = median;
    $(`${role}-time`).textContent = median === undefined ? "–" : milliseconds(median);
    if (median === undefined) continue;
    const rate = 1000 / median;
    const { macs } = config.models[role];
    const area = shown.photo ? shown.photo.width * shown.photo.height : 1;
    $(`${role}-detail`).textContent = `${rate.toPrecision(2)} images per second, ` +
      `${count(macs * area)} MACs`;
  }
  $("ratio-card").hidden = !(medians.student && medians.teacher);
  if (medians.student && medians.teacher) {
    const ratio = medians.teacher / medians.student;
    $("ratio").textContent = `${ratio.toPrecision(ratio < 10 ? 2 : 3)} ×`;
    $("ratio-detail").textContent = "teacher’s time over the student’s";
  }
}

function say(text) {
  $("status").textContent = text;
}

function warn(text) {
  $("notice").textContent = text;
  $("notice").hidden = text === "";
}

function busy(is) {
  $("busy").hidden = !is;
  document.documentElement.dataset.state = is ? "busy" : "idle";
}

// -- controls --------------------------------------------------------------------------------------

function listen() {
  const choose = () => $("file").click();
  $("drop").onclick = $("open").onclick = choose;
  $("file").onchange = () => {
    if ($("file").files.length) openPhoto($("file").files[0]);
    $("file").value = "";
  };
  $("camera").onclick = () => (stream ? stopCamera() : startCamera());
  $("new").onclick = () => {
    seed = crypto.getRandomValues(new Uint32Array(1))[0];
    draw();
  };
  $("class").onchange = () => draw();
  $("size").onchange = () => photo && !stream && draw();
  $("slider").oninput = divide;
  $("compare").onchange = show;
  $("save").onclick = save;
  $("backend").onchange = async () => {
    stopCamera();
    warn("");
    await use($("backend").value);
  };
  $("teacher").onclick = loadTeacher;
  if (!fromNoise()) listenForPhotos();
}

function listenForPhotos() {
  const target = document.documentElement;
  target.ondragover = (event) => {
    event.preventDefault();
    target.classList.add("over");
  };
  target.ondragleave = (event) => event.relatedTarget ?? target.classList.remove("over");
  target.ondrop = (event) => {
    event.preventDefault();
    target.classList.remove("over");
    if (event.dataTransfer.files.length) openPhoto(event.dataTransfer.files[0]);
  };
  document.onpaste = (event) => {
    const [file] = event.clipboardData.files;
    if (file) openPhoto(file);
  };
}

async function loadTeacher() {
  $("teacher").hidden = true;
  try {
    await network.open("teacher");
    teacherIsLoaded = true;
    say("");
    $("teacher-detail").textContent = "loaded: it draws the next image";
    $("compare-field").hidden = fromNoise();
    if (shown.student && !stream) {
      busy(true);
      await drawTeacher();
      busy(false);
    }
  } catch (error) {
    busy(false);
    warn(`The teacher cannot run here (${error.message}).`);
  }
}

function save() {
  $("after").toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${config.title.replace(/[^\w-]+/g, "-")}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }, "image/png");
}

begin().catch((error) => {
  say("");
  warn(`The page cannot start: ${error.message}`);
});
