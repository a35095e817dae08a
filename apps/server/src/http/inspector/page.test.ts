import { existsSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestServer, type TestServer } from "../test-server.ts";

// Debian: apt install chromium. KVCACHE_IMAGES=1 also takes the pictures of the docs.
const executablePath =
  process.env.CHROMIUM ?? ["/usr/bin/chromium", "/usr/bin/google-chrome"].find(existsSync);
if (!executablePath) console.log("skipped: the inspector in a browser (no Chromium found)");

const images = fileURLToPath(new URL("../../../../../docs/images/", import.meta.url));
const document = fileURLToPath(
  new URL("../../../../../packages/model-tiny/demo/document.txt", import.meta.url),
);

describe.skipIf(!executablePath)("the page in a browser", () => {
  let server: TestServer;
  let browser: Browser;
  let page: Page;
  const complaints: string[] = [];

  beforeAll(async () => {
    server = await startTestServer({ showText: true, kvMemory: 2 ** 25 });
    browser = await chromium.launch({ executablePath: executablePath!, args: ["--no-sandbox"] });
    page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
    page.on("console", (message) => complaints.push(message.text()));
    page.on("pageerror", (error) => complaints.push(error.message));
    await page.goto(`${server.url}/inspector`);
  });
  afterAll(async () => {
    await browser?.close();
    await server?.close();
  });

  const ask = async (fields: object) => {
    const prompt = (await readFile(document, "utf8")).slice(0, 2400);
    return server.post("/v1/completions", { prompt, ignore_eos: true, ...fields });
  };
  const kv = { policy: "ada-kv", budget: { ratio: 0.25 } };

  it("says what to do while nothing was asked", async () => {
    await page.getByText("Nothing has been asked yet").waitFor();
    expect(await page.locator("#curl").textContent()).toContain(`curl ${server.url}/v1/chat`);
    await page.getByRole("status").getByText("Live").waitFor();
  });

  it("shows requests, budgets and the text with what left greyed", async () => {
    await ask({ max_tokens: 20, kv });
    const row = page.getByRole("row", { name: /ada-kv/ });
    await row.getByText("done").waitFor();
    const grid = page.getByRole("grid", { name: /Tokens kept/ });
    expect(await grid.getByRole("gridcell").count()).toBe(24);
    await page.getByText(/On average a head keeps/).waitFor();
    const levels = await page
      .locator("#kept-text span")
      .evaluateAll((spans) => spans.map((span) => span.style.getPropertyValue("--level")));
    expect(new Set(levels).size).toBeGreaterThan(3);
  });

  it("is used by keyboard: arrows move in the heat map, Enter chooses a head", async () => {
    await page.getByRole("gridcell", { name: /^layer 0, head 0/ }).focus();
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    await page.getByText(/^Head 1 of layer 1 keeps/).waitFor();
    const chosen = page.getByRole("gridcell", { selected: true });
    expect(await chosen.getAttribute("aria-label")).toMatch(/^layer 1, head 1: \d+ tokens/);
    await page.getByRole("button", { name: "All heads" }).press("Enter");
    await page.getByText(/On average a head keeps/).waitFor();
  });

  it("fits a phone, and names all that is drawn", async () => {
    for (const { role, name } of [
      { role: "img", name: /^[\d,]+ of [\d,]+ blocks held/ },
      { role: "img", name: /^Memory held over time: / },
      { role: "img", name: /^Tokens generated per second: / },
      { role: "combobox", name: "Model" },
    ] as const)
      await page.getByRole(role, { name }).waitFor();
    await page.setViewportSize({ width: 390, height: 844 });
    await sleep(300);
    expect(await page.evaluate("document.documentElement.scrollWidth")).toBe(390);
    expect(complaints).toEqual([]);
  });

  async function takeImages() {
    await mkdir(images, { recursive: true });
    await ask({ max_tokens: 60, kv: { policy: "full" } });
    const asked = [
      ask({ max_tokens: 700, kv, temperature: 0.8, seed: 1 }),
      ask({ max_tokens: 700, kv: { policy: "streaming-llm", budget: { tokens: 256 } } }),
    ];
    await page.getByText("2", { exact: true }).first().waitFor();
    await page.setViewportSize({ width: 1280, height: 900 });
    await sleep(6000);
    await page.screenshot({ path: `${images}inspector.png`, fullPage: true });
    await page.emulateMedia({ colorScheme: "dark" });
    await page.setViewportSize({ width: 390, height: 844 });
    await sleep(1000);
    await page.screenshot({ path: `${images}inspector-phone.png`, fullPage: true });
    await Promise.all(asked);
  }
  if (process.env.KVCACHE_IMAGES) it("stands for the pictures of the docs", takeImages);
});
