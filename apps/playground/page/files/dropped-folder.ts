/** The files of a folder, not of its sub-folders, through the File System Access API. */
export async function filesOf(folder: FileSystemDirectoryHandle): Promise<File[]> {
  const files: File[] = [];
  for await (const entry of folder.values())
    if (entry.kind === "file") files.push(await (entry as FileSystemFileHandle).getFile());
  return files;
}

/** Asks for a folder; undefined where the user changed their mind, or the browser has no such dialog. */
export async function pickFolder(): Promise<FileSystemDirectoryHandle | undefined> {
  const picker = window as { showDirectoryPicker?: () => Promise<FileSystemDirectoryHandle> };
  return picker.showDirectoryPicker?.().catch((error: unknown) => {
    if ((error as DOMException).name === "AbortError") return undefined;
    throw error;
  });
}

export const hasFolderPicker = "showDirectoryPicker" in window;

/** The dropped folder's handle, or the dropped files. */
export async function droppedFiles(
  transfer: DataTransfer,
): Promise<{ name: string; files: File[] } | undefined> {
  const item = transfer.items[0];
  const loose = [...transfer.files];
  const asking = item as DataTransferItem & {
    getAsFileSystemHandle?: () => Promise<FileSystemHandle | null>;
  };
  const handle = await asking?.getAsFileSystemHandle?.();
  if (handle?.kind === "directory")
    return { name: handle.name, files: await filesOf(handle as FileSystemDirectoryHandle) };
  return loose.length > 0 ? { name: "dropped files", files: loose } : undefined;
}
