/**
 * `npm run lab -- [SUBJECT] VERB …`: the labs by hand. Each subject has its own main.ts, which says its verbs; without a
 * subject they are those of the machines.
 */
type Main = (args: readonly string[]) => Promise<number>;

const subjects: Readonly<Record<string, () => Promise<{ readonly main: Main }>>> = {
  kubernetes: () => import('./kubernetes/main.ts'),
  machines: () => import('./machines/main.ts'),
};

const [subject = '', ...args] = process.argv.slice(2);
const load = subjects[subject];
try {
  process.exitCode = load
    ? await (await load()).main(args)
    : await (await import('./machines/main.ts')).main(process.argv.slice(2));
} catch (error) {
  console.error(`Error: ${error instanceof Error ? error.message : String(error)}`);
  if (error instanceof Error && 'next' in error && error.next) console.error(`Next: ${String(error.next)}`);
  process.exitCode = 1;
}
