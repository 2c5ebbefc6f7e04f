/** `npm run lab -- SUBJECT VERB …`: the labs by hand. Each subject has its own main.ts, which says its verbs. */
type Main = (args: readonly string[]) => Promise<number>;

const subjects: Readonly<Record<string, () => Promise<{ readonly main: Main }>>> = {
  kubernetes: () => import('./kubernetes/main.ts'),
};

const [subject = '', ...args] = process.argv.slice(2);
const load = subjects[subject];
if (load === undefined) {
  console.error(`npm run lab -- SUBJECT VERB, where SUBJECT is ${Object.keys(subjects).join(' or ')}`);
  process.exitCode = 2;
} else {
  try {
    process.exitCode = await (await load()).main(args);
  } catch (error) {
    console.error(`Error: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
