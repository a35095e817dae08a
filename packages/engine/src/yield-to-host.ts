/**
 * Lets timers, sockets and abort signals have a turn. A backend that answers at once would otherwise
 * keep the event loop in microtasks from the first token to the last.
 */
export function yieldToHost(): Promise<void> {
  if (typeof setImmediate === "function") return new Promise((resolve) => setImmediate(resolve));
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    const onmessage = () => {
      port1.close();
      resolve();
    };
    Object.assign(port1, { onmessage });
    port2.postMessage(undefined);
  });
}
