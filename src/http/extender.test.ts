import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { createExtenderServer, type ExtenderPod } from './extender.ts';

const pod = {
  metadata: { name: 'web', namespace: 'shop', uid: 'u1', labels: { app: 'web' } },
  spec: {
    containers: [{ name: 'main' }],
    volumes: [
      { name: 'data', persistentVolumeClaim: { claimName: 'web-data' } },
      { name: 'scratch', ephemeral: { volumeClaimTemplate: {} } },
      { name: 'tmp', emptyDir: {} },
    ],
  },
};

describe('the scheduler extender', () => {
  const asked: { pod: ExtenderPod; nodeNames: readonly string[] }[] = [];
  const server = createExtenderServer(
    {
      choose: (one, nodeNames) => {
        asked.push({ pod: one, nodeNames });
        if (one.metadata.name === 'other') return undefined;
        return {
          passed: [
            { nodeName: 'n2', score: 1 },
            { nodeName: 'n1', score: 0.5 },
          ],
          refused: new Map([['n3', 'pool p3: it is cordoned']]),
        };
      },
    },
    new Registry(),
  );
  const post = async (verb: string, payload: object) => {
    const answer = await server.inject({ method: 'POST', url: `/${verb}`, payload });
    return { status: answer.statusCode, body: answer.json() as unknown };
  };
  const names = { Pod: pod, Nodes: null, NodeNames: ['n1', 'n2', 'n3'] };

  it('answers with names to a scheduler that keeps nodes itself, and reads of the pod what it needs', async () => {
    expect(await post('filter', names)).toEqual({
      status: 200,
      body: {
        NodeNames: ['n1', 'n2'],
        FailedAndUnresolvableNodes: { n3: 'pool p3: it is cordoned' },
        Error: '',
      },
    });
    expect(asked.at(-1)).toEqual({
      pod: {
        metadata: { name: 'web', namespace: 'shop', uid: 'u1' },
        spec: {
          volumes: [
            { name: 'data', persistentVolumeClaim: { claimName: 'web-data' } },
            { name: 'scratch', ephemeral: {} },
            { name: 'tmp' },
          ],
        },
      },
      nodeNames: ['n1', 'n2', 'n3'],
    });
  });

  it('answers with nodes to one that sends them', async () => {
    const node = (name: string) => ({ metadata: { name }, status: { phase: 'x' } });
    const { body } = await post('filter', { Pod: pod, Nodes: { items: ['n1', 'n3'].map(node) } });
    expect(body).toMatchObject({ Nodes: { items: [node('n1')] } });
  });

  it('scores from 0 to 10', async () => {
    expect((await post('prioritize', names)).body).toEqual([
      { Host: 'n1', Score: 5 },
      { Host: 'n2', Score: 10 },
      { Host: 'n3', Score: 0 },
    ]);
  });

  it('lets every node pass for a pod that needs nothing of ours', async () => {
    const other = { ...names, Pod: { ...pod, metadata: { name: 'other' } } };
    expect((await post('filter', other)).body).toMatchObject({ NodeNames: ['n1', 'n2', 'n3'] });
  });

  it.each([{}, [], { Pod: 5 }, { Pod: { metadata: {} } }, { Pod: pod, NodeNames: [1] }])('refuses %j', async (body) => {
    expect((await post('filter', body)).status).toBe(400);
  });
});
