/** What a pasted .env file says: its variables (the last of a name wins), or the first line that is not one. */
export interface DotEnv {
  variables: { name: string; value: string }[];
  badLine: number | undefined;
}

export const variableName = /^[A-Za-z_][A-Za-z0-9_]*$/;

const unescaped: Record<string, string> = { n: '\n', r: '\r', t: '\t', '"': '"', '\\': '\\', $: '$' };

/**
 * Reads .env text: NAME=value lines, `export` before them, # comments, single quotes (as they are), double quotes
 * (with \n, \t, \", \\ and line breaks inside). Line numbers count from 1.
 */
export function parseDotEnv(text: string): DotEnv {
  const found = new Map<string, string>();
  const lines = text.replace(/^\uFEFF/, '').split(/\r?\n/);
  for (let at = 0; at < lines.length; at++) {
    const line = (lines[at] ?? '').trim();
    if (line === '' || line.startsWith('#')) continue;
    const match = /^(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)$/.exec(line);
    if (!match?.[1]) return { variables: [], badLine: at + 1 };
    let raw = match[2] ?? '';
    const quote = raw[0];
    if (quote === '"' || quote === "'") {
      const begun = at;
      while (!closed(raw, quote)) {
        at++;
        if (at >= lines.length) return { variables: [], badLine: begun + 1 };
        raw += `\n${lines[at]}`;
      }
    }
    found.set(match[1], unquote(raw));
  }
  return { variables: [...found].map(([name, value]) => ({ name, value })), badLine: undefined };
}

const quoted: Record<string, RegExp> = {
  '"': /^"((?:[^"\\]|\\[\s\S])*)"\s*(?:#.*)?$/,
  "'": /^'([^']*)'\s*(?:#.*)?$/,
};

const closed = (raw: string, quote: string) => quoted[quote]?.test(raw) ?? true;

function unquote(raw: string): string {
  const single = quoted["'"]?.exec(raw);
  if (single) return single[1] ?? '';
  const double = quoted['"']?.exec(raw);
  if (double) return (double[1] ?? '').replace(/\\([\s\S])/g, (all, letter: string) => unescaped[letter] ?? all);
  return raw.replace(/\s+#.*$/, '').trim();
}
