import type { Command } from 'commander';
import type { WhyAnswer } from '../../control/operations.ts';
import { causeCatalogue } from '../../model/causes.ts';
import { AzekuraError, errorCatalogue } from '../../model/errors.ts';
import { foreignKindFromWord } from '../../model/foreign.ts';
import { kindFromWord } from '../../model/kinds.ts';
import { parseName } from '../arguments.ts';
import type { Context } from '../context.ts';
import { causeLines } from '../describe.ts';
import { examples } from '../help.ts';
import { printData } from '../output.ts';

export function register(command: Command, context: Context): void {
  command
    .argument(
      '<object>',
      'NAME of a volume, or KIND/NAME; in a cluster also pvc/NAMESPACE/NAME, pod/NAMESPACE/NAME, pv/NAME',
    )
    .description(
      'Tells the one cause that keeps an object from being as it should be, how that is known, and what to do.\nEnds with exit code 6 when something blocks it.',
    )
    .action(async (object: string) => {
      const { kind, name } = parseObject(object);
      const answer = (await (
        await context.client()
      ).call('GET', `/why/${kind}/${encodeURIComponent(name)}`)) as WhyAnswer;
      if (answer.cause && causeCatalogue[answer.cause.code].severity === 'blocking')
        context.setExitCode(errorCatalogue.FailedPrecondition.exit);
      const format = context.format();
      if (format === 'json' || format === 'yaml') return printData(context, answer);
      printAnswer(context, answer);
    });
  examples(command, ['why db', 'why pool/main', 'why snapshot/before-upgrade -o json', 'why pvc/shop/database']);
}

function printAnswer(context: Context, answer: WhyAnswer): void {
  const { out } = context.terminal;
  out(`${answer.kind.toLowerCase()}/${answer.name} is ${answer.healthy ? 'well' : 'not well'} (${answer.phase})\n`);
  if (answer.path.length > 1)
    out(`because of ${answer.path.map(({ kind, name }) => `${kind.toLowerCase()}/${name}`).join(' → ')}\n`);
  if (answer.cause) for (const line of causeLines(answer.cause)) out(`  ${line}\n`);
}

/** "db" is volume db; "pool/main" is pool main. */
export function parseObject(text: string): { readonly kind: string; readonly name: string } {
  const slash = text.indexOf('/');
  if (slash < 0) return { kind: 'volumes', name: parseName(text, 'volume') };
  const word = text.slice(0, slash);
  const rest = text.slice(slash + 1);
  const foreign = foreignKindFromWord(word);
  if (foreign) {
    if (rest === '' || rest.length > 320 || rest.split('/').length > (foreign === 'PersistentVolume' ? 1 : 2))
      throw new AzekuraError('InvalidArgument', `"${rest.slice(0, 64)}" is not a name of a ${word}`, {
        next: 'write pvc/NAMESPACE/NAME, pod/NAMESPACE/NAME or pv/NAME',
      });
    return { kind: foreign, name: rest };
  }
  const kind = kindFromWord(word);
  if (!kind)
    throw new AzekuraError('InvalidArgument', `"${word}" is not a kind of object`, {
      next: 'write for example `azekura why pool/main`',
    });
  return { kind, name: parseName(rest, kind.toLowerCase()) };
}
