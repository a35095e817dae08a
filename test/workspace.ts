import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("..", import.meta.url));

export interface WorkspacePackage {
  /** Relative to the root, for example "packages/policies/snap-kv". */
  readonly folder: string;
  readonly manifest: {
    readonly name: string;
    readonly kvcache?: { readonly section: string };
    readonly dependencies?: Record<string, string>;
    readonly peerDependencies?: Record<string, string>;
    readonly devDependencies?: Record<string, string>;
  };
}

const folders = (parent: string): string[] =>
  readdirSync(`${root}/${parent}`, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => `${parent}/${entry.name}`);

/** All packages of the workspace, as pnpm-workspace.yaml names their places. */
export const workspacePackages: readonly WorkspacePackage[] = [
  ...folders("packages"),
  ...folders("packages/budgets"),
  ...folders("packages/policies"),
  "kernels",
  ...folders("apps"),
]
  .filter((folder) => existsSync(`${root}/${folder}/package.json`))
  .map((folder) => ({
    folder,
    manifest: JSON.parse(readFileSync(`${root}/${folder}/package.json`, "utf8")),
  }));
