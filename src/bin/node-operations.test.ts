import { describe, expect, it } from 'vitest';
import type { Operations } from '../control/operations.ts';
import { annotations } from '../model/names.ts';
import { forNodeOnly, lookingOnly } from './node-operations.ts';

/** Operations that say what they were asked, and on whose behalf. */
function recording(said: unknown[], requestId?: string): Operations {
  const answer = (method: string) => async (argument: unknown) => {
    said.push({ method, argument, requestId });
    return { volume: {} };
  };
  return {
    as: (request: { readonly requestId: string }) => recording(said, request.requestId),
    createVolume: answer('createVolume'),
    deleteVolume: answer('deleteVolume'),
    status: answer('status'),
  } as unknown as Operations;
}

describe("a node's operations", () => {
  it('mark what they make as the node’s own, also on behalf of a request', async () => {
    const said: unknown[] = [];
    let refreshed = 0;
    const operations = forNodeOnly(recording(said), async () => {
      refreshed += 1;
    });
    const request = { name: 'v', sizeBytes: 1, annotations: { a: 'b' } };
    await operations.createVolume(request);
    await operations.as({ requestId: 'r' }).createVolume(request);
    const marked = { ...request, annotations: { a: 'b', [annotations.nodeOnly]: 'true' } };
    expect(said).toEqual([
      { method: 'createVolume', argument: marked, requestId: undefined },
      { method: 'createVolume', argument: marked, requestId: 'r' },
    ]);
    expect(refreshed).toBe(2);
  });

  it('let people look and change nothing, also on behalf of a request', async () => {
    const said: unknown[] = [];
    for (const operations of [lookingOnly(recording(said)), lookingOnly(recording(said)).as({ requestId: 'r' })]) {
      await operations.status();
      await expect(operations.deleteVolume('v')).rejects.toMatchObject({ code: 'FailedPrecondition' });
    }
    expect(said).toMatchObject([{ method: 'status' }, { method: 'status', requestId: 'r' }]);
  });
});
