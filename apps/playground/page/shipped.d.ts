/// <reference types="vite/client" />
/** Made by vite.config.ts from the package that ships the model. */
declare module "virtual:shipped" {
  /** Folder of the model's files, relative to the page. */
  export const modelPath: string;
  export const demoText: string;
  export const demoQuestions: readonly {
    readonly question: string;
    readonly answers: readonly string[];
  }[];
}
