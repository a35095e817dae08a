import { byId } from "./element.ts";

const KEY = "theme";

/** Follows the system until the user chooses. */
export function startTheme(): void {
  const root = document.documentElement;
  const isDark = matchMedia("(prefers-color-scheme: dark)");
  const stored = localStorage.getItem(KEY);
  if (stored) root.dataset.theme = stored;
  byId("theme").addEventListener("click", () => {
    const now = root.dataset.theme ?? (isDark.matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    localStorage.setItem(KEY, root.dataset.theme);
  });
}
