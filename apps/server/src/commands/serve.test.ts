import { createServer } from "node:net";
import { Command } from "commander";
import { expect, it } from "vitest";
import { assemble } from "../assemble.ts";
import { registerServe } from "./serve.ts";

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address() as { port: number };
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

it("stops without a word of being ready when it is told to while models are loading", async () => {
  const port = await freePort();
  let opened = 0;
  let closed = 0;
  const program = new Command();
  registerServe(program, async (options) => {
    opened++;
    const run = await assemble(options);
    process.emit("SIGTERM");
    return {
      ...run,
      async close() {
        closed++;
        await run.close();
      },
    };
  });
  const models = ["a", "b"].map((name) => ({ name, model: "tiny" }));
  const config = JSON.stringify({ models });
  const options = ["--port", `${port}`, "--log-level", "silent", "--config", config];
  await program.parseAsync(["serve", ...options, "--threads", "2"], { from: "user" });
  expect({ opened, closed, status: process.exitCode }).toEqual({ opened: 1, closed: 1, status: 0 });
  process.exitCode = undefined;
});

it("serves from the command line until SIGTERM, with every policy by name", async () => {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const program = new Command();
  registerServe(program);
  const options = ["--port", `${port}`, "--log-level", "silent", "--policy", "snap-kv@0.5"];
  const more = [
    "--name",
    "mine",
    "--max-num-seqs",
    "4",
    "--threads",
    "2",
    "--shutdown-timeout",
    "5",
  ];
  const served = program.parseAsync(["serve", ...options, ...more], { from: "user" });
  const status = () =>
    fetch(`${url}/health`).then(
      (response) => response.status,
      () => 0,
    );
  const seen = new Set<number>();
  for (let answer = 0; answer !== 200; answer = await status()) {
    seen.add(answer);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  expect([...seen]).not.toContain(500);

  const ask = async (kv: unknown) => {
    const response = await fetch(`${url}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: "mine", prompt: "a b c d ".repeat(50), max_tokens: 2, kv }),
    });
    const body = (await response.json()) as { usage: { kv: { policy: string } } };
    return body.usage.kv.policy;
  };
  expect(await ask(null)).toBe("snap-kv");
  expect(await ask({ policy: "full" })).toBe("full");
  expect(await ask({ policy: "auto" })).toBe("dbudget-kv");
  process.emit("SIGTERM");
  await served;
  expect(await status()).toBe(0);
  expect(process.exitCode).toBe(0);
  process.exitCode = undefined;
});
