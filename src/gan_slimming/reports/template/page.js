"use strict";
(() => {
  const gallery = document.querySelector(".gallery");
  if (!gallery) return;
  const find = (selector) => gallery.querySelector(selector);
  const viewer = find(".viewer"), stage = find(".stage"), frame = find(".frame");
  const under = new Image(), over = new Image(), slider = find(".slider");
  const left = find(".left"), right = find(".right"), order = find(".order select");
  const strip = find(".strip"), items = [...strip.children];
  let current = items[0];

  const short = (text) => Number(Number(text).toPrecision(3)).toString();
  const place = (item, measure) => `${item.dataset[measure + "Rank"]} of ${gallery.dataset.total}`;

  function divide() {
    frame.style.setProperty("--at", `${slider.value / 10}%`);
    slider.setAttribute("aria-valuetext",
      `${Math.round(slider.value / 10)} % ${left.value}, the rest ${right.value}`);
  }

  function fit() {
    const zoom = find("input[name=zoom]:checked").value;
    const image = current.querySelector("img");
    const width = image.getAttribute("width"), height = image.getAttribute("height");
    const exact = zoom !== "fit";
    frame.classList.toggle("exact", exact);
    const widest = Math.min(stage.clientWidth, Math.max(320, window.innerHeight * 0.74) * width / height);
    frame.style.width = `${exact ? width * zoom : Math.floor(widest)}px`;
    frame.style.height = exact ? `${height * zoom}px` : `${Math.floor(widest * height / width)}px`;
  }

  function draw() {
    for (const [image, choice] of [[over, left], [under, right]]) {
      const source = [...current.querySelectorAll("img")].find((x) => x.dataset.view === choice.value);
      image.src = source.src;
      image.alt = source.alt;
    }
    find(".tag-left").textContent = left.value;
    find(".tag-right").textContent = right.value;
    const figures = order ? [...new Set([...order.options].map((o) => o.value.split(" ")[0]))] : [];
    find(".caption").textContent = [
      current.dataset.name,
      ...figures.map((m) => `${m.toUpperCase()} ${short(current.dataset[m])}`),
    ].join(" · ");
    for (const item of items)
      item.firstElementChild.setAttribute("aria-pressed", String(item === current));
    fit();
    divide();
  }

  function sort() {
    if (!order) return;
    const [measure, first] = order.value.split(" ");
    const sign = first === "worst" ? 1 : -1;
    const rank = (item) => sign * Number(item.dataset[measure + "Rank"]);
    items.sort((a, b) => rank(a) - rank(b));
    strip.append(...items);
    for (const item of items) {
      item.querySelector(".rank").textContent = place(item, measure);
      item.querySelector(".what").textContent =
        `${measure.toUpperCase()} ${short(item.dataset[measure])}`;
    }
  }

  for (const item of items) {
    const views = [...item.querySelectorAll("img")];
    const thumb = views.find((x) => x.dataset.view === gallery.dataset.after) || views[0];
    thumb.classList.add("thumb");
    item.firstElementChild.addEventListener("click", () => { current = item; draw(); });
  }
  over.className = "over";
  frame.prepend(under, over);
  slider.addEventListener("input", divide);
  left.addEventListener("change", draw);
  right.addEventListener("change", draw);
  for (const zoom of gallery.querySelectorAll("input[name=zoom]")) zoom.addEventListener("change", fit);
  if (order) order.addEventListener("change", () => { sort(); current = items[0]; draw(); });
  window.addEventListener("resize", fit);

  document.documentElement.classList.add("ready");
  viewer.hidden = false;
  if (order) find(".order").hidden = false;
  sort();
  current = items[0];
  draw();
})();
