import { z } from "zod";

export const errorBody = z.object({
  error: z.object({
    message: z.string(),
    type: z.string(),
    param: z.string().nullable(),
    code: z.string().nullable(),
  }),
});

/** Errors that any generating route may answer. */
export const errorResponses = {
  400: errorBody.describe("A field is wrong, or not served"),
  401: errorBody.describe("No valid API key"),
  404: errorBody.describe("No such model"),
  429: errorBody.describe("The queue is full; see Retry-After"),
  503: errorBody.describe("Loading, draining or out of memory"),
};
