import type { Command } from 'commander';
import type { Node, Pool } from '../model/kinds.ts';
import { parseName } from './arguments.ts';
import { objectPath } from './client.ts';
import type { Context } from './context.ts';
import { examples } from './help.ts';
import { printResult } from './output.ts';

/** The verbs cordon and uncordon, which nodes and pools have alike. */
export function registerCordon(group: Command, context: Context, kind: 'Node' | 'Pool', exampleName: string): void {
  const word = kind.toLowerCase();
  for (const [verb, sentence] of [
    ['cordon', 'takes no new volumes'],
    ['uncordon', 'takes new volumes again'],
  ] as const) {
    const command = group
      .command(`${verb} <name>`)
      .summary(verb === 'cordon' ? `place nothing new on a ${word}` : `use a ${word} again`)
      .action(async (name: string) => {
        const query = context.globals().dryRun ? { dryRun: true } : {};
        const client = await context.client();
        const path = objectPath(kind, parseName(name, word), verb);
        const object = (await client.call('POST', path, { body: {}, query })) as Node | Pool;
        await printResult(context, `${word}/${name} ${sentence}`, object);
      });
    examples(command, [`${word} ${verb} ${exampleName}`]);
  }
}
