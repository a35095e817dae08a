import { existsSync, readFileSync } from "node:fs";
import ts from "typescript";
import { expect, it } from "vitest";
import { root, workspacePackages } from "./workspace.ts";

/** Every block of TypeScript in the READMEs, as the text of a module that nobody wrote to disk. */
const examples = new Map<string, string>(
  ["", ...workspacePackages.map(({ folder }) => `${folder}/`)]
    .map((folder) => `${root}${folder}README.md`)
    .filter((path) => existsSync(path))
    .flatMap((path) =>
      [...readFileSync(path, "utf8").matchAll(/^```ts\n([\s\S]*?)^```/gm)].map(
        ([, code], i) => [`${path}.${i}.ts`, code!] as const,
      ),
    ),
);

/** Why the examples would not compile where all packages are installed, one line each. */
function complaints(): string[] {
  const { config } = ts.readConfigFile(`${root}tsconfig.json`, ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent({ ...config, files: [] }, ts.sys, root);
  const packages = workspacePackages.map(({ folder, manifest }) => [
    manifest.name,
    [`${root}${folder}/src/index.ts`],
  ]);
  const whole = {
    ...options,
    paths: Object.fromEntries(packages),
    moduleDetection: ts.ModuleDetectionKind.Force,
  };
  const host = ts.createCompilerHost(whole);
  const { fileExists, readFile } = host;
  host.fileExists = (path) => examples.has(path) || fileExists(path);
  host.readFile = (path) => examples.get(path) ?? readFile(path);
  const program = ts.createProgram([...examples.keys(), `${root}types/wgsl.d.ts`], whole, host);
  return [...examples.keys()].flatMap((path) => {
    const file = program.getSourceFile(path);
    return [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)].map(
      ({ messageText, start }) => {
        const line = file!.getLineAndCharacterOfPosition(start ?? 0).line + 1;
        const text = ts.flattenDiagnosticMessageText(messageText, " ");
        return `${path.slice(root.length)}, line ${line} of the block: ${text}`;
      },
    );
  });
}

it("examples of READMEs compile", () => {
  expect(examples.size).toBeGreaterThan(workspacePackages.length / 2);
  expect(complaints()).toEqual([]);
});
