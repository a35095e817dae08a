/** Threads of a workgroup of kernels that treat every number alike. */
export const threads = 128;

/** WGSL kernel that runs `body` for i = 0 … params.count − 1; `body` may return. */
export const forEachCode = (body: string): string => /* wgsl */ `
@compute @workgroup_size(${threads})
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = workgroupIndex(id, groups) * ${threads}u + lane;
  if (i >= params.count) { return; }
  ${body}
}
`;

/** Workgroups for `count` threads. */
export const workgroupsFor = (count: number): number => Math.ceil(count / threads);
