export { createOrtBackend, type OrtBackendOptions } from "./ort-backend.ts";
