import { loadNativeAddon, type NativeAddon } from "./native-addon.ts";
import { findOrtLibrary } from "./ort-library.ts";

/** The addon for tests; without it one line says which tests are skipped. */
export function addonForTests(what: string): NativeAddon | undefined {
  try {
    const addon = loadNativeAddon();
    addon.init(findOrtLibrary());
    return addon;
  } catch (error) {
    console.log(`skipped: ${what} on native onnxruntime (${(error as Error).message})`);
    return undefined;
  }
}
