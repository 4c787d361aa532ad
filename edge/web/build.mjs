/** Builds the page into `../seg_edge/serve/page`: hashed names, every file gzipped as the server sends it, the engine's two builds in one .xz. */

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import { build } from "esbuild";

const OUT = new URL("../seg_edge/serve/page/", import.meta.url);
const SOURCES = new URL("src/", import.meta.url);
const LITERT = new URL("node_modules/@litertjs/core/", import.meta.url);
const SAMPLE = new URL("../../tests/data/grace_hopper.jpg", import.meta.url);
const hashOf = (content) => createHash("sha256").update(content).digest("hex").slice(0, 10);

// What the last build packed, by the names that hold the hashes: packing takes a minute.
const old = await Promise.all(["wasm.json", "wasm.xz"].map((name) => readFile(new URL(name, OUT)))).catch(() => null);
await rm(OUT, { recursive: true, force: true });
await mkdir(new URL("assets/", OUT), { recursive: true });

async function write(path, content) {
  // The time in a gzip's head is left 0 by Node, so the same sources give the same bytes.
  await writeFile(new URL(`${path}.gz`, OUT), gzipSync(content, { level: 9 }));
}

/** Writes a file under a name that holds its hash, and gives its address, relative to the page's. */
async function asset(name, content) {
  const [, stem, suffix] = /^(.*?)(\.[^.]+)$/.exec(name);
  const path = `assets/${stem}-${hashOf(content)}${suffix}`;
  await write(path, content);
  return path;
}

async function bundle(name, format, define) {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL(name, SOURCES))],
    bundle: true,
    minify: true,
    write: false,
    format,
    target: ["chrome108", "firefox113", "safari16.4"],
    legalComments: "none",
    loader: { ".wasm": "binary" },
    define: Object.fromEntries(Object.entries(define).map(([key, value]) => [key, JSON.stringify(value)])),
  });
  return outputFiles[0].text;
}

const made = /__version__ = "(.*)"/.exec(await readFile(new URL("../seg_edge/__init__.py", import.meta.url), "utf8"))[1];
const { version } = JSON.parse(await readFile(new URL("package.json", LITERT), "utf8"));
const variants = {}, engines = [], sizes = {};
for (const name of ["threaded", "compat"]) {
  const js = await readFile(new URL(`wasm/litert_wasm_${name}_internal.js`, LITERT));
  const wasm = await readFile(new URL(`wasm/litert_wasm_${name}_internal.wasm`, LITERT));
  variants[name] = {
    js: await asset(`litert-${name}.js`, js),
    wasm: `assets/litert-${name}-${hashOf(wasm)}.wasm`,
    bytes: wasm.length,
  };
  engines.push(wasm);
  sizes[`assets/litert-${name}-${hashOf(wasm)}.wasm`] = wasm.length;
}
const index = Buffer.from(JSON.stringify(sizes));
await writeFile(new URL("wasm.json", OUT), index);
// The dictionary of -7, 16 MiB, reaches from one build back into the other; to unpack takes as much memory.
const pack = () => execFileSync("xz", ["-7", "--stdout"], { input: Buffer.concat(engines), maxBuffer: 2 ** 26 });
await writeFile(new URL("wasm.xz", OUT), old?.[0].equals(index) ? old[1] : pack());
const worker = await asset("worker.js", await bundle("worker.ts", "iife", { VARIANTS: variants, MADE_BY: `seg-edge ${made}` }));
const sample = await asset("grace-hopper.jpg", await readFile(SAMPLE));
const icon = await asset("icon.svg", await readFile(new URL("icon.svg", SOURCES)));
const style = await asset("style.css", await bundle("style.css", undefined, {}));
const beside = (path) => path.replace("assets/", ""); // as the manifest, which lies among them, says it
const [touch, small, large, whole] = await Promise.all(
  ["touch-180", "icon-192", "icon-512", "maskable-512"].map(async (name) =>
    asset(`${name}.png`, await readFile(new URL(`icons/${name}.png`, SOURCES))),
  ),
);
const manifest = await asset(
  "seg-edge.webmanifest",
  JSON.stringify({
    name: "seg-edge",
    description: "Cuts people out of photos on this device.",
    start_url: "../",
    scope: "../",
    display: "standalone",
    background_color: "#0e1412",
    theme_color: "#12332a",
    icons: [
      { src: beside(icon), sizes: "any", type: "image/svg+xml" },
      { src: beside(small), sizes: "192x192", type: "image/png" },
      { src: beside(large), sizes: "512x512", type: "image/png" },
      { src: beside(whole), sizes: "512x512", type: "image/png", purpose: "maskable" },
    ],
  }),
);
const main = await asset("main.js", await bundle("main.ts", "esm", { WORKER: worker, SAMPLE: sample }));
const page = (await readFile(new URL("index.html", SOURCES), "utf8"))
  .replaceAll("{{main}}", main)
  .replaceAll("{{style}}", style)
  .replaceAll("{{icon}}", icon)
  .replaceAll("{{touch}}", touch)
  .replaceAll("{{manifest}}", manifest);
await write("index.html", page);
const engine = Object.values(variants).flatMap(({ js, wasm }) => [js, wasm]);
const shell = ["", main, worker, style, icon, touch, small, large, manifest, sample];
await write("sw.js", await bundle("sw.ts", "iife", { SHELL: shell, ENGINE: engine, BUILD: hashOf(page) }));
await write(
  "NOTICE.txt",
  `This page contains LiteRT.js (@litertjs/core ${version}), Copyright 2025 Google LLC, under the Apache License,
Version 2.0: http://www.apache.org/licenses/LICENSE-2.0. Source: https://github.com/google-ai-edge/LiteRT

It contains fflate (https://github.com/101arrowz/fflate) under this licence:

${await readFile(new URL("node_modules/fflate/LICENSE", import.meta.url), "utf8")}
The sample photo is Grace Hopper, US Navy, public domain.
`,
);
