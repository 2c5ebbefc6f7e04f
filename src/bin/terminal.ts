import type { Terminal } from '../cli/terminal.ts';

/** The terminal of this process. */
export function processTerminal(): Terminal {
  return {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    get outIsTty() {
      return process.stdout.isTTY ?? false;
    },
    get errIsTty() {
      return process.stderr.isTTY ?? false;
    },
    get columns() {
      return process.stdout.columns ?? process.stderr.columns ?? 100;
    },
    ask: async (question) => {
      if (!process.stdin.isTTY) return undefined;
      const { createInterface } = await import('node:readline/promises');
      const prompt = createInterface({ input: process.stdin, output: process.stderr });
      try {
        return await prompt.question(question);
      } finally {
        prompt.close();
      }
    },
  };
}
