import { testBackend } from "@kvcache/testing";
import { addonForTests } from "./native-test.ts";
import { createOrtBackend } from "./ort-backend.ts";

testBackend("ort segmented", () =>
  createOrtBackend({ mode: "segmented", worker: false, threads: 2 }),
);

if (addonForTests("the backend battery"))
  testBackend("ort native", () => createOrtBackend({ mode: "native", threads: 2 }));
