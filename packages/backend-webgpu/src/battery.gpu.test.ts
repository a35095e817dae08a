import { testBackend } from "@kvcache/testing";
import { createWebGpuBackend } from "./webgpu-backend.ts";

testBackend("webgpu T0", () => createWebGpuBackend({ tier: "T0" }));
