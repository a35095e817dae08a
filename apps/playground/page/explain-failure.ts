import type { Device, Failure } from "./protocol.ts";

export type Remedy = "retry" | "cpu" | "smaller" | "tiny";

export interface PlainFailure {
  readonly title: string;
  readonly text: string;
  readonly remedies: readonly Remedy[];
}

export const remedyLabels: Readonly<Record<Remedy, string>> = {
  retry: "Try again",
  cpu: "Run on the CPU instead",
  smaller: "Use half the memory",
  tiny: "Open the shipped model",
};

/** What went wrong, in words for people who never heard of adapters, and what they can do. */
export function explainFailure({ code }: Failure, device: Device): PlainFailure {
  switch (code) {
    case "device-lost":
      return {
        title: "The graphics card stopped answering",
        text: "Its driver was restarted, the computer slept, or another program took it. Nothing of yours is lost: the model is read again, then ask once more.",
        remedies: ["retry", "cpu"],
      };
    case "out-of-memory":
    case "out-of-blocks":
      return {
        title: "There is not enough memory for this",
        text: "The model and its cache do not fit. Choose a shorter text or a smaller model, or close other tabs that use the graphics card.",
        remedies: ["smaller", "tiny"],
      };
    case "unsupported":
      return device === "gpu"
        ? {
            title: "WebGPU is not available here",
            text: "This page computes on the graphics card through WebGPU. Use a current Chrome, Edge, Safari or Firefox over https, and switch on hardware acceleration in its settings. On Linux, Chrome may need chrome://flags/#enable-unsafe-webgpu. The CPU gives the same answers, slowly.",
            remedies: ["cpu", "retry"],
          }
        : {
            title: "This model cannot run here",
            text: "It has parts that this page does not know.",
            remedies: ["tiny"],
          };
    case "not-found":
      return {
        title: "The model could not be fetched",
        text: "Check the address and your network. The server must allow other origins to read the files (CORS).",
        remedies: ["retry", "tiny"],
      };
    case "invalid-model":
    case "invalid-file":
      return {
        title: "These files are not a model that can be read",
        text: "A folder needs config.json, tokenizer.json and model.safetensors, or shards with their index. If it was stored here before, delete the stored models and open it again.",
        remedies: ["tiny"],
      };
    case "context-length-exceeded":
      return {
        title: "The text is too long",
        text: "Choose a shorter length, or more room under Model and memory.",
        remedies: [],
      };
    case "invalid-plan":
    case "invalid-argument":
    case "missing-signal":
      return {
        title: "This policy cannot work with these settings",
        text: "Keep more tokens, use a longer text, or choose another policy.",
        remedies: [],
      };
    default:
      return {
        title: "Something went wrong",
        text: "This should not happen. Trying again opens everything anew.",
        remedies: ["retry", "tiny"],
      };
  }
}
