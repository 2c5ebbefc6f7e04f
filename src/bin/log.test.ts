import { expect, it } from 'vitest';
import { makeCause } from '../model/cause.ts';
import { blamed } from '../model/errors.ts';
import { createLog } from './log.ts';

it('writes an error whose cause came out of the store frozen, with what it was caused by', () => {
  const lines: string[] = [];
  const { log } = createLog({ level: 'info', json: true, write: (text) => lines.push(text) });
  const blame = Object.freeze(makeCause('HungCall', { call: 'stat', what: 'pool/sick', seconds: 30 }));
  log.warn({ err: blamed('Unavailable', blame, { cause: new Error('below') }) }, 'not converged');
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({
    level: 'warn',
    msg: 'not converged',
    err: { code: 'Unavailable', blame: 'HungCall', cause: { name: 'Error', message: 'below' } },
  });
});
