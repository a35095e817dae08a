import { z } from "zod";
import { modelNotFound } from "../api-error.ts";
import type { HttpContext, Routes } from "../context.ts";
import { errorBody } from "../schemas/error.ts";
import type { ServedModel } from "../served-model.ts";

const modelBody = z.object({
  id: z.string(),
  object: z.literal("model"),
  created: z.number(),
  owned_by: z.string(),
  max_model_len: z.number(),
});

const bodyOf = ({ id, created, maxModelLength }: ServedModel) => ({
  id,
  object: "model" as const,
  created,
  owned_by: "kvcache",
  max_model_len: maxModelLength,
});

export const modelRoutes: Routes =
  ({ fleet }: HttpContext) =>
  async (app) => {
    const list = z.object({ object: z.literal("list"), data: z.array(modelBody) });
    app.get(
      "/v1/models",
      {
        schema: {
          summary: "The models that are served",
          tags: ["models"],
          response: { 200: list },
        },
      },
      async () => ({ object: "list" as const, data: fleet.models.map(bodyOf) }),
    );
    app.get(
      "/v1/models/*",
      {
        schema: {
          summary: "One model, by its name",
          tags: ["models"],
          params: z.object({ "*": z.string() }),
          response: { 200: modelBody, 404: errorBody },
        },
      },
      async ({ params }) => {
        const id = params["*"];
        const model = fleet.models.find((one) => one.id === id);
        if (model) return bodyOf(model);
        const names = fleet.models.map((one) => one.id);
        throw modelNotFound(id, names);
      },
    );
  };
