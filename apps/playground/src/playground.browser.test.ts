import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createOrtBackend } from "@kvcache/backend-ort";
import { cacheLayout } from "@kvcache/core";
import { loadModel } from "@kvcache/decoder";
import { createEngine } from "@kvcache/engine";
import { demoDocumentUrl, demoQuestionsUrl, modelUrl } from "@kvcache/model-tiny";
import { createPagedCache } from "@kvcache/paged";
import { type Browser, chromium, type Page } from "playwright-core";
import { build } from "vite";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { planOf } from "../page/worker/plan-of.ts";
import { cutText, makePrompt } from "../page/worker/prompt.ts";
import { type StaticServer, serveFolder } from "./static-server.ts";

const executablePath = process.env.CHROMIUM_PATH ?? "/usr/bin/chromium";
const safeFlags = ["--no-sandbox", "--no-first-run", "--disable-background-networking"];
const gpuFlag = "--enable-unsafe-webgpu";
const numTextTokens = 128;
const maxTokens = 8;
const ratio = 0.25;

let folder: string;
let server: StaticServer;
let browser: Browser;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "playground-"));
  const root = fileURLToPath(new URL("../", import.meta.url));
  const configFile = join(root, "vite.config.ts");
  // As published: the service worker is not for development.
  vi.stubEnv("NODE_ENV", "production");
  await build({ configFile, logLevel: "error", build: { outDir: folder } });
  vi.unstubAllEnvs();
  server = await serveFolder(folder);
  browser = await chromium.launch({ executablePath, args: [...safeFlags, gpuFlag] });
}, 120_000);
afterAll(async () => {
  await browser?.close();
  await server?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** The page, once a model is open or could not be opened. */
async function openPage(
  from: Browser,
  expected: "ready" | "failed",
  url = server.url,
): Promise<Page> {
  const page = await from.newPage();
  page.on("pageerror", (error) => {
    throw error;
  });
  await page.goto(url);
  await settled(page, expected);
  return page;
}

const settled = (page: Page, state: "ready" | "failed") =>
  page.waitForSelector(`body[data-state="${state}"]`, { timeout: 120_000 });

async function setRange(page: Page, selector: string, value: number): Promise<void> {
  await page.fill(selector, String(value));
}

interface Shown {
  readonly text: string;
  readonly tokensKept: string;
}

/** Clicks Compare and reads both sides when they are done. */
async function compare(page: Page, policies: readonly [string, string]): Promise<Shown[]> {
  const sides = page.locator(".side");
  for (const [i, policy] of policies.entries()) {
    await sides.nth(i).locator(".policy select").selectOption(policy);
    const keep = sides.nth(i).locator(".keep input");
    if (await keep.isEnabled()) await keep.fill(String(100 * ratio));
  }
  await page.click("#compare");
  await page.waitForSelector("#compare:not(:disabled)", { timeout: 600_000 });
  const shown: Shown[] = [];
  for (const side of await sides.all()) {
    const text = await side.locator(".answer-text").textContent();
    const kept = await side.locator('[data-stat="kept"]').textContent();
    shown.push({ text: text!.trim(), tokensKept: kept!.split(" ")[0]! });
  }
  return shown;
}

/** What onnxruntime answers to the same prompt, and up to where no near-tie could turn it. */
async function expectedAnswers(policies: readonly string[]) {
  const model = await loadModel(fileURLToPath(modelUrl));
  const tokenizer = model.tokenizer!;
  const [{ question, answers }] = JSON.parse(readFileSync(demoQuestionsUrl, "utf8"));
  const document = readFileSync(demoDocumentUrl, "utf8");
  const { text } = cutText(tokenizer, document, numTextTokens, answers[0]);
  const { ids } = makePrompt(tokenizer, text, question);
  const cacheOptions = {
    layout: cacheLayout(model.graph.shape),
    maxTokensPerSequence: 1024,
    memoryBytes: 2 ** 25,
    windowSize: 64,
  };
  const backend = await createOrtBackend({ mode: "auto" });
  const cache = (await backend.createCache?.(cacheOptions)) ?? createPagedCache(cacheOptions);
  const engine = await createEngine({ model, backend, cache, prefixCache: false });
  const expected = [];
  for (const policy of policies) {
    const plan = planOf({ policy, ratio });
    const stream = engine.generate({ prompt: ids, plan, maxTokens, logprobs: 2 });
    let safe = "";
    let isSafe = true;
    for await (const event of stream) {
      if (event.type === "token") {
        const [first, second] = event.topLogprobs!;
        isSafe &&= first!.logprob - second!.logprob > 1e-3;
      }
      if (isSafe) safe += event.text;
    }
    const { kv } = await stream.result;
    expected.push({ safe: safe.trim(), tokensKept: String(Math.round(kv.tokensKept)) });
  }
  await engine.dispose();
  await backend.dispose();
  cache.dispose();
  expect(ids.length).toBeLessThanOrEqual(512);
  return { expected, answer: answers[0] as string };
}

/** One short text of one's own: cheap enough for a GPU in software and for the CPU. */
async function askShort(page: Page): Promise<Shown[]> {
  await page.selectOption("#text-choice", "own");
  await page.fill("#text", "The pass key is 60284. Remember it. 60284 is the pass key.\n\n");
  await page.fill("#question", "What is the pass key?");
  await setRange(page, "#max-tokens", 8);
  return compare(page, ["full", "streaming-llm"]);
}

it("bundles nothing of Node", () => {
  const scripts = readdirSync(join(folder, "assets")).filter((file) => file.endsWith(".js"));
  expect(scripts.length).toBeGreaterThanOrEqual(2);
  for (const script of scripts)
    expect(readFileSync(join(folder, "assets", script), "utf8"), script).not.toMatch(
      /(from|import\()\s*["'`]node:|__vite-browser-external/,
    );
});

it("answers as onnxruntime does, four times in the same buffers", async () => {
  const page = await openPage(browser, "ready");
  // Chromium without a graphics card computes in software: the page must say so.
  expect(await page.textContent("#device")).toMatch(/swiftshader.*in software/i);
  await setRange(page, "#length", 0);
  await setRange(page, "#max-tokens", maxTokens);

  const policies = ["full", "snap-kv", "ada-kv", "kv-compress"] as const;
  const { expected, answer } = await expectedAnswers(policies);
  const buffers = () => page.getAttribute("body", "data-buffers");
  const first = await compare(page, [policies[0], policies[1]]);
  const before = await buffers();
  const second = await compare(page, [policies[2], policies[3]]);
  for (const [i, { text, tokensKept }] of [...first, ...second].entries()) {
    expect(text.slice(0, expected[i]!.safe.length), policies[i]).toBe(expected[i]!.safe);
    expect(tokensKept.replace(",", ""), policies[i]).toBe(expected[i]!.tokensKept);
  }
  expect(first[0]!.text).toBe(answer);
  expect(Number(before)).toBeGreaterThan(0);
  expect(await buffers()).toBe(before);

  // Both views show what was evicted, and a head can be chosen by keyboard.
  const side = page.locator('.side[data-side="b"]');
  expect(await side.locator(".kept-text span:not(.k4)").count()).toBeGreaterThan(0);
  await side.locator(".heat-map button").first().focus();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Enter");
  expect(await side.locator(".kept select").inputValue()).toBe("3");
  await page.close();
});

it("says so when the GPU is lost, and works again in the same page", async () => {
  const page = await openPage(browser, "ready");
  await page.workers()[0]!.evaluate(() => {
    const { createCommandEncoder } = GPUDevice.prototype;
    GPUDevice.prototype.createCommandEncoder = function (...options) {
      GPUDevice.prototype.createCommandEncoder = createCommandEncoder;
      const encoder = createCommandEncoder.apply(this, options);
      this.destroy();
      return encoder;
    };
  });
  await page.selectOption("#text-choice", "own");
  await page.fill("#text", "A short text. ");
  await page.click("#compare");
  await page.waitForSelector("#notice:has-text('graphics card stopped answering')", {
    timeout: 120_000,
  });
  await page.click("#notice >> text=Try again");
  await settled(page, "ready");
  const [full] = await askShort(page);
  expect(full!.text).toBe("60284");
  await page.close();
});

it("opens without a network after the first visit", async () => {
  const host = await serveFolder(folder);
  const page = await openPage(browser, "ready", host.url);
  await page.evaluate("navigator.serviceWorker.ready.then(() => true)");
  await host.close();
  await page.reload();
  await settled(page, "ready");
  expect(await page.textContent("#model-shown")).toContain("stored for offline use");
  await page.close();
});

it("explains that WebGPU is missing, and runs on the CPU when told to", async () => {
  const plain = await chromium.launch({ executablePath, args: safeFlags });
  try {
    const page = await openPage(plain, "failed");
    expect(await page.textContent("#notice")).toContain("WebGPU is not available here");
    await page.click("text=Run on the CPU instead");
    await settled(page, "ready");
    expect(await page.textContent("#device")).toMatch(/^CPU.*no GPU/);
    const [full] = await askShort(page);
    expect(full!.text).toBe("60284");
  } finally {
    await plain.close();
  }
});
