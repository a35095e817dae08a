// node scripts/check-pack.mjs [folder …]: packs every package, or those named, as they are published,
// and asks publint and Are The Types Wrong whether ES modules elsewhere can use them. CommonJS and
// the resolution of Node 10 are not served; what would go wrong there is passed over, as the latter's
// profile "esm-only" does. Needs what `pnpm build` writes.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { checkPackage, createPackageFromTarballData } from "@arethetypeswrong/core";
import { filterProblems, problemKindInfo } from "@arethetypeswrong/core/problems";
import { publint } from "publint";
import { formatMessage } from "publint/utils";

const root = fileURLToPath(new URL("..", import.meta.url));
const homes = ["packages", "packages/budgets", "packages/policies"];

/** @param {string} folder @returns {{ name: string, private?: boolean } | undefined} */
function manifestOf(folder) {
  const path = join(root, folder, "package.json");
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : undefined;
}

/** @param {string} folder @param {string} destination */
function pack(folder, destination) {
  const { status, error, stderr } = spawnSync(
    "pnpm",
    ["pack", "--json", "--pack-destination", destination],
    { cwd: join(root, folder), encoding: "utf8", shell: process.platform === "win32" },
  );
  if (error) throw error;
  if (status !== 0) throw new Error(`pnpm pack failed in ${folder}: ${stderr}`);
  const [file] = readdirSync(destination);
  const bytes = readFileSync(join(destination, file));
  rmSync(join(destination, file));
  return bytes;
}

/** @param {Buffer} bytes of a tarball */
async function wrongTypes(bytes) {
  const analysis = await checkPackage(createPackageFromTarballData(bytes));
  if (!analysis.types) return ["it has no types"];
  return ["node16-esm", "bundler"].flatMap((resolutionKind) =>
    filterProblems(analysis, { resolutionKind }).map(
      ({ kind }) => `${resolutionKind}: ${problemKindInfo[kind].description}`,
    ),
  );
}

/** @param {Buffer} bytes of a tarball */
async function lint(bytes) {
  const tarball = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  const result = await publint({ pack: { tarball }, strict: true });
  return result.messages.map((message) => formatMessage(message, result.pkg, { color: false }));
}

const all = [
  "kernels",
  ...homes.flatMap((home) => readdirSync(join(root, home)).map((name) => `${home}/${name}`)),
];
const folders = process.argv.length > 2 ? process.argv.slice(2) : all;
let checked = 0;
const destination = mkdtempSync(join(tmpdir(), "kvcache-pack-"));
let faults = 0;
try {
  for (const folder of folders) {
    const manifest = manifestOf(folder);
    if (!manifest || manifest.private) continue;
    const bytes = pack(folder, destination);
    checked++;
    for (const fault of [...(await lint(bytes)), ...(await wrongTypes(bytes))]) {
      faults++;
      console.error(`${manifest.name}: ${fault}`);
    }
  }
} finally {
  rmSync(destination, { recursive: true });
}
if (faults > 0) process.exit(1);
console.log(`${checked} packages: publint and attw have nothing to say`);
