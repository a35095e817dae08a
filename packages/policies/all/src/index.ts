export * from "./create-policy.ts";
export * from "./policies.ts";
