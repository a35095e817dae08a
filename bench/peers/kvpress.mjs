// kvpress in a child process: one JSON line in, one out.
import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const environment = fileURLToPath(new URL(".venv", import.meta.url));
const python = `${environment}/bin/python`;
const packages = ["torch==2.8.0", "kvpress==0.5.5", "transformers==5.2.0"];

function install(log) {
  if (existsSync(`${environment}/ready`)) return;
  log(`making a virtual environment with ${packages.join(", ")}: some gigabytes, once`);
  const run = (command, args) => {
    const { status } = spawnSync(command, args, { stdio: ["ignore", 2, 2] });
    if (status !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${status}`);
  };
  run("python3", ["-m", "venv", environment]);
  run(python, ["-m", "pip", "install", "--quiet", "--no-input", ...packages]);
  run("touch", [`${environment}/ready`]);
}

/** @returns {Promise<{description: string, run(request: object): Promise<number>, close(): void}>} */
export async function openKvpress({ folder, threads, log }) {
  install(log);
  const script = fileURLToPath(new URL("kvpress_peer.py", import.meta.url));
  const child = spawn(python, [script, folder, String(threads)], {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, CUDA_VISIBLE_DEVICES: "", OMP_NUM_THREADS: String(threads) },
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error("kvpress ended");
    return JSON.parse(value);
  };
  const { description } = await answer();
  return {
    description,
    async run(request) {
      child.stdin.write(`${JSON.stringify(request)}\n`);
      return (await answer()).seconds;
    },
    close: () => child.stdin.end(),
  };
}
