import type { Command } from 'commander';
import { AzekuraError } from '../../model/errors.ts';
import { candidatesFor } from '../candidates.ts';
import { createClient } from '../client.ts';
import type { Context } from '../context.ts';
import { examples } from '../help.ts';

/** A daemon that is slower than this is as good as none: the user waits for each key. */
const namesTimeoutMs = 1_000;

export function register(command: Command, context: Context): void {
  command
    .argument('[shell]', 'bash, zsh or fish')
    .description('Prints the completion script of a shell. It asks this command for words and names of objects.')
    .action((shell: string | undefined) => {
      const script = shell === undefined ? undefined : scripts[shell];
      if (!script) throw new AzekuraError('InvalidArgument', `shell "${shell ?? ''}" is not one of bash, zsh, fish`);
      context.terminal.out(script);
    });
  examples(command, [
    'completion bash > /etc/bash_completion.d/azekura',
    'completion zsh > ~/.zfunc/_azekura',
    'completion fish > ~/.config/fish/completions/azekura.fish',
  ]);
  command
    .command('words', { hidden: true })
    .argument('[words...]')
    .allowUnknownOption()
    .action(async (words: string[]) => {
      for (const word of await completions(context, words)) context.terminal.out(`${word}\n`);
    });
}

async function completions(context: Context, words: readonly string[]): Promise<string[]> {
  const { words: fixed, kind } = candidatesFor(await context.program(words), words);
  const names = kind
    ? await client(context)
        .then((api) => api.list(kind))
        .then(
          (objects) => objects.map((object) => object.metadata.name),
          () => [],
        )
    : [];
  const typed = words.at(-1) ?? '';
  return [...new Set([...fixed, ...names])].filter((word) => word.startsWith(typed)).sort();
}

function client(context: Context) {
  return createClient({ ...context.globals(), timeoutMs: namesTimeoutMs });
}

/** The words go behind `--`, so that none of them is taken for an option of this command. */
const scripts: Readonly<Record<string, string>> = {
  bash: `# bash completion for azekura
_azekura() {
  local IFS=$'\\n'
  COMPREPLY=($(azekura completion words -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _azekura azekura
`,
  zsh: `#compdef azekura
_azekura() {
  local -a found
  found=("\${(@f)$(azekura completion words -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "$found" ]]; then compadd -a found; else _files; fi
}
if [[ "$funcstack[1]" == _azekura ]]; then _azekura "$@"; else compdef _azekura azekura; fi
`,
  fish: `# fish completion for azekura
function __azekura_words
  set -l words (commandline -opc)
  azekura completion words -- $words[2..-1] (commandline -ct) 2>/dev/null
end
complete -c azekura -a '(__azekura_words)'
`,
};
