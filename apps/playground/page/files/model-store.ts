/** Files of one model in this origin's private storage (OPFS), so that the next visit needs no network. */
export interface ModelStore {
  /** The files, where all of them were stored. */
  read(): Promise<Map<string, Blob> | undefined>;
  /** Writes one file as its bytes arrive and returns it. */
  write(file: string, body: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<Blob>;
  /** Marks what was written as complete. */
  seal(files: readonly string[]): Promise<void>;
}

const FOLDER = "models";
/** Lists the files; written last, so that a download that broke off does not count. */
const SEAL = "complete.json";

/** Undefined where this browser (a private window, say) gives no storage. */
export async function openModelStore(url: string): Promise<ModelStore | undefined> {
  try {
    const root = await navigator.storage.getDirectory();
    const models = await root.getDirectoryHandle(FOLDER, { create: true });
    return storeIn(await models.getDirectoryHandle(encodeURIComponent(url), { create: true }));
  } catch {
    return undefined;
  }
}

/** Deletes every stored model. */
export async function forgetModels(): Promise<void> {
  const root = await navigator.storage?.getDirectory();
  await root?.removeEntry(FOLDER, { recursive: true }).catch((error: unknown) => {
    if ((error as DOMException).name !== "NotFoundError") throw error;
  });
}

function storeIn(folder: FileSystemDirectoryHandle): ModelStore {
  const blobOf = async (file: string) => (await folder.getFileHandle(file)).getFile();
  return {
    async read() {
      try {
        const files: string[] = JSON.parse(await (await blobOf(SEAL)).text());
        const blobs = new Map<string, Blob>();
        for (const file of files) blobs.set(file, await blobOf(file));
        return blobs;
      } catch {
        return undefined;
      }
    },
    async write(file, body) {
      const handle = await folder.getFileHandle(file, { create: true });
      const target = await handle.createSyncAccessHandle();
      try {
        target.truncate(0);
        for (const reader = body.getReader(); ; ) {
          const { done, value } = await reader.read();
          if (done) break;
          target.write(value);
        }
        target.flush();
      } finally {
        target.close();
      }
      return blobOf(file);
    },
    async seal(files) {
      await this.write(SEAL, new Blob([JSON.stringify(files)]).stream());
    },
  };
}
