/**
 * Makes a synchronous observation that many may ask for at once: all callers of one turn of the event loop share one
 * answer, which is read after the last of them has asked. Nobody gets an answer that is older than the question.
 */
export function shareNext<T>(read: () => T): () => Promise<T> {
  let next: Promise<T> | undefined;
  return () => {
    next ??= new Promise((resolve, reject) => {
      setImmediate(() => {
        next = undefined;
        try {
          resolve(read());
        } catch (error) {
          reject(error);
        }
      });
    });
    return next;
  };
}
