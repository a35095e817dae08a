import { testBudget } from "@kvcache/testing";
import { blockSchedule } from "./index.ts";

testBudget("block-schedule", () => blockSchedule());
testBudget("block-schedule, protected", () => blockSchedule({ protectedWindow: 9 }));
