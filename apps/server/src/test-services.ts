import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

/** A process that a test started. */
export interface Service {
  readonly port: number;
  kill(signal?: NodeJS.Signals): Promise<void>;
}

const folders = ["/usr/sbin", ...(process.env.PATH ?? "").split(":")];
const find = (...programs: readonly string[]) =>
  programs
    .flatMap((program) => folders.map((folder) => join(folder, program)))
    .find((path) => existsSync(path));

/** Where the programs that tests start are; undefined where they are not installed. */
export const programs = Object.freeze({
  redis: find("redis-server", "valkey-server"),
  nginx: find("nginx"),
  promtool: find("promtool"),
});

/**
 * Whether a test's programs are installed. Without them it prints a line; where
 * KVCACHE_REQUIRE_SERVICES is 1, it throws.
 */
export function hasServices(...needed: readonly (keyof typeof programs)[]): boolean {
  const missing = needed.filter((one) => programs[one] === undefined);
  if (missing.length === 0) return true;
  const message = `tests with ${missing.join(" and ")}: not installed (Debian: apt install redis-server nginx prometheus)`;
  if (process.env.KVCACHE_REQUIRE_SERVICES === "1") throw new Error(message);
  console.log(`skipped: ${message}`);
  return false;
}

export async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address() as { port: number };
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

const accepts = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" });
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });

async function started(
  child: ChildProcess,
  port: number,
  isReady: () => Promise<boolean>,
): Promise<Service> {
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream?.on("data", (text) => {
      output = (output + text).slice(-2000);
    });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  while (!(await isReady())) {
    if (child.exitCode !== null) throw new Error(`${child.spawnfile} ended: ${output}`);
    await sleep(50);
  }
  return {
    port,
    async kill(signal = "SIGKILL") {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      await ended;
    },
  };
}

/** An empty Redis or Valkey that keeps nothing on disk. */
export function startRedis(port: number, ...options: readonly string[]): Promise<Service> {
  const all = ["--port", `${port}`, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
  const child = spawn(programs.redis!, [...all, ...options], { cwd: tmpdir(), stdio: "pipe" });
  return started(child, port, () => accepts(port));
}

/** nginx with the recipe of deploy/nginx.conf before these replicas. */
export async function startNginx(replicas: readonly number[]): Promise<Service> {
  const port = await freePort();
  const folder = await mkdtemp(join(tmpdir(), "kvcache-nginx-"));
  const recipe = await readFile(new URL("../../../deploy/nginx.conf", import.meta.url), "utf8");
  let next = 0;
  const here = recipe
    .replace(/^http \{/m, (line) => `${line}\n${temporary(folder)}`)
    .replace(
      /listen 127\.0\.0\.1:8000;/,
      `listen 127.0.0.1:${port};\nadd_header X-Served-By $upstream_addr;`,
    )
    .replace(/server 127\.0\.0\.1:80\d\d /g, () => `server 127.0.0.1:${replicas[next++]} `);
  if (next !== replicas.length) throw new Error(`the recipe names ${next} replicas`);
  const file = join(folder, "nginx.conf");
  await writeFile(file, `daemon off;\npid ${folder}/pid;\nerror_log stderr;\n${here}`);
  const child = spawn(programs.nginx!, ["-p", folder, "-c", file], { stdio: "pipe" });
  const service = await started(child, port, () => accepts(port));
  return {
    port,
    async kill() {
      await service.kill("SIGTERM");
      await rm(folder, { recursive: true });
    },
  };
}

const temporary = (folder: string) =>
  ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((what) => `${what}_temp_path ${folder}/${what};`)
    .concat("access_log off;")
    .join("\n");

/** `kvcache serve` in a process of its own, from its sources, once it is ready. */
export async function startReplica(options: readonly string[], port: number): Promise<Service> {
  const path = (name: string) => fileURLToPath(new URL(`../../../${name}`, import.meta.url));
  const serve = [path("apps/server/src/main.ts"), "serve", "--port", `${port}`];
  const child = spawn(
    process.execPath,
    [path("scripts/from-source.mjs"), ...serve, "--log-level", "warn", ...options],
    { stdio: "pipe" },
  );
  const isReady = () =>
    fetch(`http://127.0.0.1:${port}/health`).then(
      ({ status }) => status === 200,
      () => false,
    );
  return started(child, port, isReady);
}
