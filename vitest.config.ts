import { defineConfig } from "vitest/config";

// Tests run from source: the "@kvcache/source" condition resolves workspace packages to src/index.ts.
const conditions = ["@kvcache/source"];

export default defineConfig({
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
        },
      },
    ],
  },
});
