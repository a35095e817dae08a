import { existsSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { defineConfig, type TestProjectConfiguration } from "vitest/config";
import { vitePagePlugin } from "./scripts/inline-page.mjs";

// Tests run from source: the "@kvcache/source" condition resolves workspace packages to src/index.ts.
const conditions = ["@kvcache/source"];

/** Vulkan drivers to run the tests of WGSL on, by name: the caller's, or the software ones found. */
function vulkanDrivers(): Readonly<Record<string, string>> {
  const given = process.env.VK_DRIVER_FILES ?? process.env.VK_ICD_FILENAMES;
  if (given) return { given };
  const folder = "/usr/share/vulkan/icd.d";
  const lavapipe = existsSync(folder) && readdirSync(folder).find((f) => /^lvp_icd.*json$/.test(f));
  const swiftshader = "/usr/lib/chromium/vk_swiftshader_icd.json";
  return {
    ...(lavapipe && { lavapipe: `${folder}/${lavapipe}` }),
    ...(existsSync(swiftshader) && { swiftshader }),
  };
}

/** One project a driver; a line, or an error where KVCACHE_REQUIRE_GPU asks for them, without any. */
function gpuProjects(): TestProjectConfiguration[] {
  const drivers = Object.entries(vulkanDrivers());
  if (drivers.length === 0) {
    const message =
      "tests of WebGPU: no Vulkan driver found (Debian: apt install libvulkan1 chromium, or name one in VK_DRIVER_FILES)";
    if (process.env.KVCACHE_REQUIRE_GPU === "1") throw new Error(message);
    console.log(`skipped: ${message}`);
  }
  return drivers.map(([driver, file]) => ({
    extends: true,
    test: {
      name: `gpu-${driver}`,
      include: ["packages/**/src/**/*.gpu.test.ts", "apps/*/src/**/*.gpu.test.ts"],
      exclude: ["**/node_modules/**", "**/dist/**"],
      // Mesa complains where the folder is not named.
      env: { VK_DRIVER_FILES: file, XDG_RUNTIME_DIR: process.env.XDG_RUNTIME_DIR ?? tmpdir() },
      fileParallelism: false,
      testTimeout: 180_000,
      hookTimeout: 60_000,
    },
  }));
}

/** The playground in a real browser; a line, or an error where it is asked for, without one. */
function browserProjects(): TestProjectConfiguration[] {
  const chromium = process.env.CHROMIUM_PATH ?? "/usr/bin/chromium";
  if (!existsSync(chromium)) {
    const message = `tests in a browser: no ${chromium} (Debian: apt install chromium, or name one in CHROMIUM_PATH)`;
    if (process.env.KVCACHE_REQUIRE_GPU === "1") throw new Error(message);
    console.log(`skipped: ${message}`);
    return [];
  }
  return [
    {
      extends: true,
      test: {
        name: "webgpu",
        include: ["apps/*/src/**/*.browser.test.ts"],
        exclude: ["**/node_modules/**", "**/dist/**"],
        fileParallelism: false,
        // GPUs in software take their time.
        testTimeout: 900_000,
      },
    },
  ];
}

export default defineConfig({
  plugins: [vitePagePlugin],
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: [
            "packages/**/src/**/*.test.ts",
            "kernels/**/*.test.ts",
            "apps/*/src/**/*.test.ts",
            "test/**/*.test.ts",
          ],
          exclude: ["**/node_modules/**", "**/dist/**", "**/*.gpu.test.ts", "**/*.browser.test.ts"],
          testTimeout: 60_000,
          // Files share their worker's modules: loading them anew took as long as the tests.
          isolate: false,
          hookTimeout: 60_000,
        },
      },
      ...gpuProjects(),
      ...browserProjects(),
    ],
  },
});
