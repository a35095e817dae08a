import { droppedFiles, filesOf, hasFolderPicker, pickFolder } from "./files/dropped-folder.ts";
import type { ModelSource } from "./protocol.ts";
import { byId } from "./view/element.ts";

export interface ModelPanelOptions {
  readonly tiny: ModelSource;
  onOpen(source: ModelSource): void;
  onContext(): void;
  onForget(): void;
}

export interface ModelPanel {
  contextTokens(): number;
  halveContext(): void;
}

/** Where models come from, and how much memory they may have. */
export function startModelPanel({
  tiny,
  onOpen,
  onContext,
  onForget,
}: ModelPanelOptions): ModelPanel {
  const context = byId<HTMLSelectElement>("context");
  const url = byId<HTMLInputElement>("model-url");
  const drop = byId("drop");
  const input = byId<HTMLInputElement>("folder-input");
  const openFiles = (name: string, files: readonly File[]) => {
    if (files.length > 0) onOpen({ kind: "files", name, files });
  };

  context.addEventListener("change", onContext);
  byId("open-tiny").addEventListener("click", () => onOpen(tiny));
  byId("forget").addEventListener("click", onForget);
  byId("open-url").addEventListener("click", () => {
    if (!url.value || !url.reportValidity()) return;
    const folder = new URL(url.value.endsWith("/") ? url.value : `${url.value}/`);
    const name = folder.pathname.split("/").filter(Boolean).slice(0, 2).join("/");
    onOpen({ kind: "url", url: folder.href, name: name || folder.host });
  });
  byId("pick-folder").addEventListener("click", async () => {
    if (!hasFolderPicker) {
      input.click();
      return;
    }
    const folder = await pickFolder();
    if (folder) openFiles(folder.name, await filesOf(folder));
  });
  input.addEventListener("change", () => {
    const files = [...(input.files ?? [])];
    const folder = files[0]?.webkitRelativePath.split("/")[0];
    openFiles(folder || "chosen files", files);
  });
  for (const type of ["dragenter", "dragover"])
    drop.addEventListener(type, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", async (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const dropped = event.dataTransfer && (await droppedFiles(event.dataTransfer));
    if (dropped) openFiles(dropped.name, dropped.files);
  });

  return {
    contextTokens: () => Number(context.value),
    halveContext() {
      context.selectedIndex = Math.max(0, context.selectedIndex - 1);
    },
  };
}
