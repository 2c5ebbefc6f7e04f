/** A value of LVM's text format (lvm.conf, metadata): the same grammar everywhere. */
export type LvmValue = string | number | readonly LvmValue[] | LvmSection;
export interface LvmSection {
  readonly [key: string]: LvmValue;
}

const token = /\s+|#[^\n]*|"((?:[^"\\]|\\.)*)"|(-?\d+(?:\.\d+)?)(?![\w.+-])|([\w.+-][\w.+/-]*)|([{}[\]=,])/y;

type Token =
  | { readonly kind: 'text'; readonly value: string }
  | { readonly kind: 'number'; readonly value: number }
  | { readonly kind: 'word'; readonly value: string }
  | { readonly kind: 'mark'; readonly value: string };

/** Nothing that LVM writes is nested deeper than this. */
const depthLimit = 16;

/**
 * Reads a text of LVM's format: sections, lists, strings, numbers.
 *
 * @throws SyntaxError for anything else
 */
export function parseLvmText(text: string): LvmSection {
  const tokens = tokenize(text);
  let at = 0;
  const next = (): Token | undefined => tokens[at++];
  const isMark = (mark: string): boolean => tokens[at]?.kind === 'mark' && tokens[at]?.value === mark;

  const section = (depth: number): LvmSection => {
    if (depth > depthLimit) throw new SyntaxError('nested too deeply');
    const entries: [string, LvmValue][] = [];
    while (at < tokens.length && !isMark('}')) {
      const key = next();
      if (key?.kind !== 'word' && key?.kind !== 'number') throw new SyntaxError(`a name was expected at item ${at}`);
      const mark = next();
      if (mark?.kind === 'mark' && mark.value === '{') {
        entries.push([String(key.value), section(depth + 1)]);
        if (!isMark('}')) throw new SyntaxError('a section does not end');
        at += 1;
      } else if (mark?.kind === 'mark' && mark.value === '=') entries.push([String(key.value), value(depth + 1)]);
      else throw new SyntaxError(`"=" or "{" was expected after ${key.value}`);
    }
    return Object.fromEntries(entries);
  };
  const value = (depth: number): LvmValue => {
    if (!isMark('[')) {
      const one = next();
      if (one === undefined || one.kind === 'mark') throw new SyntaxError(`a value was expected at item ${at}`);
      return one.value;
    }
    if (depth > depthLimit) throw new SyntaxError('nested too deeply');
    at += 1;
    const list: LvmValue[] = [];
    while (!isMark(']')) {
      list.push(value(depth + 1));
      if (isMark(',')) at += 1;
      else if (!isMark(']')) throw new SyntaxError('a list does not end');
    }
    at += 1;
    return list;
  };
  const root = section(0);
  if (at < tokens.length) throw new SyntaxError('there is one "}" too many');
  return root;
}

function tokenize(text: string): readonly Token[] {
  const tokens: Token[] = [];
  token.lastIndex = 0;
  const scan = new RegExp(token);
  while (scan.lastIndex < text.length) {
    const from = scan.lastIndex;
    const match = scan.exec(text);
    if (!match) throw new SyntaxError(`cannot read "${text.slice(from, from + 20)}"`);
    const [, quoted, number, word, mark] = match;
    if (quoted !== undefined) tokens.push({ kind: 'text', value: quoted.replace(/\\(.)/gs, '$1') });
    else if (number !== undefined) tokens.push({ kind: 'number', value: Number(number) });
    else if (word !== undefined) tokens.push({ kind: 'word', value: word });
    else if (mark !== undefined) tokens.push({ kind: 'mark', value: mark });
  }
  return tokens;
}
