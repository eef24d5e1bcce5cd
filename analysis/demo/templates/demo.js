"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const root = document.documentElement;
  const facts = JSON.parse($("facts").textContent);
  const { classes, side } = facts;

  // Light or dark: what was chosen, else what the system prefers.
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const setTheme = (isDark) => { root.dataset.theme = isDark ? "dark" : "light"; };
  setTheme(dark.matches);
  dark.addEventListener("change", () => setTheme(dark.matches));
  $("theme").addEventListener("click", () => setTheme(root.dataset.theme !== "dark"));

  // ---- Loading: what lies beside the page, and only as it was when the page was made.

  class Problem extends Error {}
  const isThere = async (file) => (await fetch(file, { method: "HEAD" })).ok;
  const load = async (file, integrity, missing, altered) => {
    if (!await isThere(file)) throw new Problem(missing);
    try {
      return await (await fetch(file, { integrity })).arrayBuffer();
    } catch {
      throw new Problem(altered);
    }
  };

  // The script is run only if its bytes are right; importing it again gives the same module.
  const runtime = async () => {
    const address = new URL(`${facts.folder}/${facts.script}`, location.href).href;
    if (!await isThere(address)) throw new Problem("no-runtime");
    await new Promise((done, failed) => {
      const script = Object.assign(document.createElement("script"), {
        type: "module", src: address, integrity: facts.integrity[facts.script],
        onload: done, onerror: () => failed(new Problem("bad-runtime")),
      });
      document.head.append(script);
    });
    const ort = await import(address);
    const binary = facts.binary;
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmBinary = await load(
      `${facts.folder}/${binary}`, facts.integrity[binary], "no-runtime", "bad-runtime");
    return ort;
  };

  const start = async () => {
    if (location.protocol === "file:") throw new Problem("is-file");
    const network = await load("model.onnx", facts.network, "no-network", "bad-network");
    const ort = await runtime();
    const session = await ort.InferenceSession.create(new Uint8Array(network));
    return async (pixels) => {
      const images = new ort.Tensor("uint8", pixels, [1, 3, side, side]);
      const found = await session.run({ [facts.input]: images });
      return softmax([...found[facts.output].data]);
    };
  };

  const softmax = (logits) => {
    const top = Math.max(...logits);
    const parts = logits.map((logit) => Math.exp(logit - top));
    const sum = parts.reduce((a, b) => a + b, 0);
    return parts.map((part) => part / sum);
  };

  // ---- A picture as the network takes it: as in training, resized by Pillow's Lanczos filter.

  const BITS = 22; // of the filter's whole numbers, as in Pillow's Resample.c
  const sinc = (x) => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));
  const lanczos = (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0);

  // For each of `side` pixels: the first of `size` pixels that it is made of, and their weights.
  const filters = (size) => Array.from({ length: side }, (_, i) => {
    const scale = size / side;
    const wide = Math.max(scale, 1);
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - 3 * wide + 0.5));
    const end = Math.min(size, Math.trunc(centre + 3 * wide + 0.5));
    const weights = [];
    for (let x = first; x < end; x++) weights.push(lanczos((x - centre + 0.5) / wide));
    const sum = weights.reduce((a, b) => a + b, 0);
    return { first, weights: weights.map((w) => Math.trunc((w / sum) * 2 ** BITS + Math.sign(w) * 0.5)) };
  });

  // One pass: `lines` lines of pixels, of 3 colours, become as many of `side` pixels.
  const resizeLines = (from, lines, size, pixelStep, lineStep) => {
    const made = new Uint8ClampedArray(lines * side * 3);
    filters(size).forEach(({ first, weights }, i) => {
      for (let line = 0; line < lines; line++) {
        for (let colour = 0; colour < 3; colour++) {
          let sum = 2 ** (BITS - 1);
          let at = line * lineStep + first * pixelStep + colour;
          for (const weight of weights) {
            sum += weight * from[at];
            at += pixelStep;
          }
          made[(line * side + i) * 3 + colour] = sum >> BITS;
        }
      }
    });
    return made;
  };

  // A large photograph is first averaged over squares of 8, 4 or 2 pixels: its decoder did the same.
  const reduction = (bitmap, isJpeg) => {
    const room = Math.min(Math.floor(bitmap.width / (4 * side)), Math.floor(bitmap.height / (4 * side)));
    return isJpeg ? [8, 4, 2, 1].find((n) => room >= n) ?? 1 : 1;
  };
  const reduced = (rgba, width, height, n) => {
    const [w, h] = [Math.ceil(width / n), Math.ceil(height / n)];
    const made = new Uint8ClampedArray(w * h * 3);
    for (let y = 0; y < h; y++) {
      for (let x = 0; x < w; x++) {
        const [right, below] = [Math.min(width, (x + 1) * n), Math.min(height, (y + 1) * n)];
        const count = (right - x * n) * (below - y * n);
        for (let colour = 0; colour < 3; colour++) {
          let sum = 0;
          for (let v = y * n; v < below; v++) {
            for (let u = x * n; u < right; u++) sum += rgba[(v * width + u) * 4 + colour];
          }
          made[(y * w + x) * 3 + colour] = Math.round(sum / count);
        }
      }
    }
    return made;
  };

  // uint8 RGB, side x side: a strip at a time, since browsers limit the size of a canvas.
  const STRIP = 512;
  const asSeen = async (file) => {
    const start = new Uint8Array(await file.slice(0, 3).arrayBuffer());
    const isJpeg = start[0] === 0xff && start[1] === 0xd8 && start[2] === 0xff;
    const bitmap = await createImageBitmap(file, {
      imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none",
    });
    const n = reduction(bitmap, isJpeg);
    const [width, height] = [Math.ceil(bitmap.width / n), Math.ceil(bitmap.height / n)];
    const narrow = new Uint8ClampedArray(side * height * 3);
    for (let top = 0; top < bitmap.height; top += STRIP) {
      const lines = Math.min(STRIP, bitmap.height - top);
      const canvas = Object.assign(document.createElement("canvas"), { width: bitmap.width, height: lines });
      const pen = canvas.getContext("2d", { willReadFrequently: true });
      pen.imageSmoothingEnabled = false;
      pen.fillStyle = "#fff"; // behind what is transparent
      pen.fillRect(0, 0, bitmap.width, lines);
      pen.drawImage(bitmap, 0, -top);
      const rgb = reduced(pen.getImageData(0, 0, bitmap.width, lines).data, bitmap.width, lines, n);
      narrow.set(resizeLines(rgb, Math.ceil(lines / n), width, 3, width * 3), (top / n) * side * 3);
    }
    bitmap.close();
    const columns = resizeLines(narrow, side, height, side * 3, 3);
    const pixels = new Uint8ClampedArray(side * side * 3);
    for (let x = 0; x < side; x++) {
      for (let y = 0; y < side; y++) {
        for (let c = 0; c < 3; c++) pixels[(y * side + x) * 3 + c] = columns[(x * side + y) * 3 + c];
      }
    }
    return pixels;
  };
  const coloursFirst = (pixels) => {
    const made = new Uint8Array(pixels.length);
    for (let i = 0; i < side * side; i++) {
      for (let c = 0; c < 3; c++) made[c * side * side + i] = pixels[3 * i + c];
    }
    return made;
  };

  // ---- The answer.

  let classify = null; // once the network is loaded
  let answered = null; // the probabilities that are shown
  let asked = 0; // pictures so far: one that takes long must not overwrite a later one
  const say = (text) => { $("status").textContent = text; };
  const percent = (share) => (share > 0 && share < 0.0005 ? "< 0.1%" : `${(100 * share).toFixed(1)}%`);

  const element = (name, text, kind) => {
    const made = document.createElement(name);
    made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };
  const show = () => {
    const order = answered.map((_, i) => i).sort((a, b) => answered[b] - answered[a]);
    const most = $("most").value === "all" ? order.length : Number($("most").value);
    $("said").textContent = `${classes[order[0]]}, ${percent(answered[order[0]])}`;
    $("rows").replaceChildren(...order.slice(0, most).map((i) => {
      const [row, name, bar] = [element("tr", ""), element("th", classes[i]), element("td", "", "bar")];
      name.scope = "row";
      bar.append(element("div", ""));
      bar.firstChild.style.width = `${100 * answered[i]}%`;
      row.append(name, element("td", percent(answered[i]), "n"), bar);
      return row;
    }));
  };

  const clear = () => {
    asked += 1;
    answered = null;
    URL.revokeObjectURL($("picture").src);
    $("picture").removeAttribute("src");
    $("file").value = "";
    $("answer").hidden = true;
    $("clear").disabled = true;
    say("");
  };

  const take = async (file) => {
    if (!file || !classify) return;
    const own = asked += 1;
    say(`Reading ${file.name}.`);
    let pixels, found;
    try {
      pixels = await asSeen(file);
      found = await classify(coloursFirst(pixels));
    } catch (error) {
      if (own !== asked) return;
      clear();
      const cannot = ["InvalidStateError", "EncodingError"].includes(error.name);
      say(cannot ? `${file.name} is no picture that this browser can read.` : `${file.name}: ${error.message}`);
      return;
    }
    if (own !== asked) return;
    answered = found;
    const image = new ImageData(side, side);
    for (let i = 0; i < side * side; i++) {
      image.data.set([...pixels.subarray(3 * i, 3 * i + 3), 255], 4 * i);
    }
    $("seen").getContext("2d").putImageData(image, 0, 0);
    URL.revokeObjectURL($("picture").src);
    $("picture").src = URL.createObjectURL(file);
    $("picture").alt = `The picture ${file.name}`;
    $("name").textContent = file.name;
    $("answer").hidden = false;
    $("clear").disabled = false;
    say("");
    show();
  };

  $("file").addEventListener("change", () => take($("file").files[0]));
  $("most").addEventListener("change", () => answered && show());
  $("clear").addEventListener("click", () => { clear(); $("file").focus(); });
  addEventListener("paste", (event) => take(event.clipboardData.files[0]));
  // Anywhere on the page: a picture that misses its place must not replace the page.
  addEventListener("dragover", (event) => { event.preventDefault(); $("drop").classList.add("over"); });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("drop").classList.remove("over"); });
  addEventListener("drop", (event) => {
    event.preventDefault();
    $("drop").classList.remove("over");
    take(event.dataTransfer.files[0]);
  });

  start().then((made) => {
    classify = made;
    say("");
    $("ask").hidden = false;
  }).catch((error) => {
    say("");
    $(error instanceof Problem ? error.message : "failed").hidden = false;
    if (!(error instanceof Problem)) $("why").textContent = error.message;
    $("problem").hidden = false;
  }).finally(() => { root.dataset.ready = ""; });
})();
