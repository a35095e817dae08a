/**
 * Where attention sums of a sequence stand.
 * - `none`    nowhere yet: the side buffers of its blocks hold what others left there
 * - `shared`  in blocks that others hold too: they may be read, not written
 * - `own`     in blocks that nobody else holds
 */
export type SumsState = "none" | "shared" | "own";
